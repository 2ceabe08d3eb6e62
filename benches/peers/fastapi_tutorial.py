"""The tutorial that this project grew from: HS256, a longer token that buys shorter ones, no rotation, no store.

Run by benches/run with uvicorn. What it does not do is most of the work of the others: a stolen refresh token is good
until it expires, and nothing can be revoked.
"""

import os
import time
from typing import Annotated

import jwt
from fastapi import FastAPI, Form, HTTPException

SECRET = os.environ["TUTORIAL_SECRET"]
USERS = {f"load-{n}": "load-password" for n in range(64)}
app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)


def token(user: str, kind: str, seconds: int) -> str:
    return jwt.encode({"sub": user, "kind": kind, "exp": int(time.time()) + seconds}, SECRET, algorithm="HS256")


@app.post("/token")
async def issue(
    grant_type: Annotated[str, Form()],
    username: Annotated[str | None, Form()] = None,
    password: Annotated[str | None, Form()] = None,
    refresh_token: Annotated[str | None, Form()] = None,
) -> dict:
    if grant_type == "refresh_token":
        try:
            claims = jwt.decode(refresh_token or "", SECRET, algorithms=["HS256"])
        except jwt.InvalidTokenError:
            raise HTTPException(401, "Could not validate credentials") from None
        if claims.get("kind") != "refresh":
            raise HTTPException(401, "Could not validate credentials")
        return {"access_token": token(claims["sub"], "access", 600), "token_type": "bearer"}
    if USERS.get(username or "") != password:
        raise HTTPException(400, "Incorrect username or password")
    return {
        "access_token": token(username, "access", 600),
        "refresh_token": token(username, "refresh", 1_209_600),
        "token_type": "bearer",
    }
