# Sourced by benches/run: two peers on this machine, node-oidc-provider (npm) and the FastAPI tutorial (PyPI), two processes
# each, on a Redis of their own. Needs node, and what benches/run has: free_port, start, number, note, $load, $scratch, $seconds.

start_peers() {
    local peers=benches/peers store
    npm install --prefix "$peers/oidc-provider" --no-package-lock --ignore-scripts --no-audit --no-fund --loglevel=error
    python3 -m venv "$scratch/venv"
    "$scratch/venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$peers/requirements.txt"
    store=$(free_port)
    start "$store" redis-server --port "$store" --bind 127.0.0.1 --save "" --appendonly no
    oidc=$(free_port)
    start "$oidc" node "$peers/oidc-provider/server.js" "$oidc" "redis://127.0.0.1:$store" a-client-secret-of-the-peer \
        "$scratch/tokens.oidc" 2
    fastapi=$(free_port)
    TUTORIAL_SECRET=$(head -c 32 /dev/urandom | basenc --base64url) start "$fastapi" "$scratch/venv/bin/uvicorn" \
        --app-dir "$peers" fastapi_tutorial:app --port "$fastapi" --workers 2 --no-access-log --log-level warning
}

refreshes_of_peers() {
    # Each round goes on with fresh tokens: an old one would end its grant.
    note oidc "$("$load" --address "127.0.0.1:$oidc" --path /token --mode refresh --client load:a-client-secret-of-the-peer \
        --refresh-tokens "$scratch/tokens.oidc" --keep-tokens "$scratch/tokens.oidc" --seconds "$seconds" | number ok_per_second)"
    note fastapi "$("$load" --address "127.0.0.1:$fastapi" --path /token --mode refresh --seconds "$seconds" --per-user 1 |
        number ok_per_second)"
}
