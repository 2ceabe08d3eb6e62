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

# refresh_peer PORT TOKENS [OPTION...]: refreshes a second. An answer that is not 200 would make the figure worthless.
# From turn to turn it goes on with fresh tokens: an old one would end its grant.
refresh_peer() {
    local answer=$scratch/answer.peer
    "$load" --address "127.0.0.1:$1" --path /token --mode refresh --keep-tokens "$2" --seconds "$seconds" "${@:3}" >"$answer"
    if ! python3 -c 'import json, sys; r = json.load(sys.stdin); sys.exit(list(r["statuses"]) != ["200"] or r["transport_errors"])' \
        <"$answer"; then
        cat "$answer" "$scratch/log" >&2
        return 1
    fi
    number ok_per_second <"$answer"
}

refresh_oidc() {
    refresh_peer "$oidc" "$scratch/tokens.oidc" --client load:a-client-secret-of-the-peer --refresh-tokens "$scratch/tokens.oidc"
}

refresh_fastapi() { refresh_peer "$fastapi" "$scratch/tokens.fastapi" --per-user 1 "$@"; }

# Their first turn is not counted: they compile what they do often while they do it.
warm_peers() {
    refresh_fastapi >/dev/null
    refresh_oidc >/dev/null
}

refreshes_of_peers() {
    local figure
    figure=$(refresh_oidc)
    note oidc "$figure"
    figure=$(refresh_fastapi --refresh-tokens "$scratch/tokens.fastapi")
    note fastapi "$figure"
}
