// Keeps an access token fresh, on top of openapi-fetch and the types generated from the document (regrant.d.ts).

import type { Client } from "openapi-fetch";
import type { components, paths } from "./regrant.d.ts";

export type TokenResponse = components["schemas"]["TokenResponse"];
export type TokenError = components["schemas"]["IssueTokenError"];
export type RevocationError = components["schemas"]["RevokeTokenError"];

const headers = { "Content-Type": "application/x-www-form-urlencoded" };

/** Signed out, or the refresh token is spent, expired or revoked: only a person signing in helps. */
export class SignInAgain extends Error {
  override name = "SignInAgain";
}

/** The server refused the request for a reason that trying again doesn't change, such as a wrong client. */
export class Refused extends Error {
  override name = "Refused";
  readonly error: TokenError | RevocationError;
  constructor(error: TokenError | RevocationError) {
    super(`${error.error}: ${error.error_description} (${error.error_uri})`);
    this.error = error;
  }
}

/** The server could not be reached in time. The session is still good: ask again later. */
export class Unavailable extends Error {
  override name = "Unavailable";
}

/** What a session is made of. Times are milliseconds of the clock. */
export interface Tokens {
  accessToken: string;
  refreshToken: string;
  refreshAt: number;
  expiresAt: number;
}

/** Where the tokens are: in memory for one tab, in storage that all tabs share for several. */
export interface TokenStore {
  load(): Tokens | undefined | Promise<Tokens | undefined>;
  save(tokens: Tokens | undefined): void | Promise<void>;
}

export class MemoryStore implements TokenStore {
  #tokens: Tokens | undefined;
  load(): Tokens | undefined {
    return this.#tokens;
  }
  save(tokens: Tokens | undefined): void {
    this.#tokens = tokens;
  }
}

export interface Options {
  clientId: string;
  /** For a confidential client, which is never in a browser. */
  clientSecret?: string;
  store?: TokenStore;
  /** Sessions of one name in one browser refresh one after the other, across tabs. */
  name?: string;
  /** How long a refresh may try, milliseconds. Shorter than the server's grace (60 s by default). */
  patience?: number;
  clock?: () => number;
}

/** One signed-in session. Any number of callers may ask it at once. */
export class Session {
  readonly #client: Client<paths>;
  readonly #options: Required<Omit<Options, "clientSecret">> & Pick<Options, "clientSecret">;
  #refreshing: Promise<string> | undefined;

  constructor(client: Client<paths>, options: Options) {
    this.#client = client;
    this.#options = {
      store: new MemoryStore(),
      name: "regrant",
      patience: 20_000,
      clock: Date.now,
      ...options,
    };
  }

  /** Starts from what the server sent, for whichever grant, with a refresh token. */
  async begin(tokens: TokenResponse): Promise<void> {
    await this.#options.store.save(this.#understand(tokens, this.#options.clock(), undefined));
  }

  /**
   * A fresh access token.
   * @throws SignInAgain, Refused, Unavailable
   */
  async accessToken(): Promise<string> {
    const { store, clock } = this.#options;
    const tokens = await store.load();
    if (!tokens) throw new SignInAgain("nobody is signed in");
    const now = clock();
    if (now < tokens.refreshAt) return tokens.accessToken;
    // Between here and the assignment nothing waits, so one page makes one refresh.
    this.#refreshing ??= this.#refreshLocked().finally(() => {
      this.#refreshing = undefined;
    });
    if (now >= tokens.expiresAt) return this.#refreshing;
    // The token at hand is good until it expires, so nobody waits and no trouble is anybody's yet.
    this.#refreshing.catch(() => undefined);
    return tokens.accessToken;
  }

  /**
   * Revokes the grant. From then on `accessToken` throws SignInAgain, in all tabs that share the store.
   * @throws Unavailable, Refused when the server has not done it: the session is as it was, so call again.
   */
  async signOut(): Promise<void> {
    await this.#refreshing?.catch(() => undefined);
    await this.#locked(async () => {
      const { store } = this.#options;
      const tokens = await store.load();
      if (!tokens) return;
      await this.#answer(() =>
        this.#client.POST("/oauth2/revoke", { body: { token: tokens.refreshToken, ...this.#credentials() }, headers }),
      );
      await store.save(undefined);
    });
  }

  /** One tab at a time. What another tab has fetched meanwhile is taken as it is. */
  #refreshLocked(): Promise<string> {
    return this.#locked(async () => {
      const tokens = await this.#options.store.load();
      if (!tokens) throw new SignInAgain("nobody is signed in");
      return this.#options.clock() < tokens.refreshAt ? tokens.accessToken : this.#refresh(tokens);
    });
  }

  #locked<T>(act: () => Promise<T>): Promise<T> {
    const locks: LockManager | undefined = globalThis.navigator?.locks;
    return locks ? Promise.resolve(locks.request(`regrant:${this.#options.name}`, act)) : act();
  }

  async #refresh(tokens: Tokens): Promise<string> {
    const { store } = this.#options;
    try {
      const { data, sent } = await this.#answer(() =>
        this.#client.POST("/oauth2/token", {
          body: { grant_type: "refresh_token", refresh_token: tokens.refreshToken, ...this.#credentials() },
          headers,
        }),
      );
      if (!data) throw new TypeError("the answer has no tokens");
      const next = this.#understand(data, sent, tokens.refreshToken);
      await store.save(next);
      return next.accessToken;
    } catch (thrown) {
      if (!(thrown instanceof Refused) || thrown.error.error !== "invalid_grant") throw thrown;
      await store.save(undefined);
      throw new SignInAgain(thrown.error.error_description, { cause: thrown });
    }
  }

  /** Sends the same request until there is an answer: the server gives the same successor again. */
  async #answer<T>(
    send: () => Promise<{ data?: T; error?: TokenError | RevocationError; response: Response }>,
  ): Promise<{ data: T | undefined; sent: number }> {
    const { clock, patience } = this.#options;
    const giveUp = performance.now() + patience;
    for (let pause = 50; ; pause = Math.min(pause * 2, 5_000)) {
      const sent = clock();
      let trouble: unknown;
      try {
        const { data, error, response } = await send();
        if (response.ok) return { data, sent };
        if (response.status < 500 && error) throw new Refused(error);
        trouble = new Error(`status ${response.status}`);
        pause = Math.max(pause, 1_000 * Number(response.headers.get("Retry-After") ?? 0));
      } catch (thrown) {
        if (thrown instanceof Refused) throw thrown;
        trouble = thrown;
      }
      if (performance.now() + pause > giveUp) throw new Unavailable(String(trouble), { cause: trouble });
      await new Promise((resolve) => setTimeout(resolve, pause * (0.5 + Math.random() / 2)));
    }
  }

  #credentials(): { client_id: string; client_secret?: string } {
    const { clientId, clientSecret } = this.#options;
    return { client_id: clientId, ...(clientSecret === undefined ? {} : { client_secret: clientSecret }) };
  }

  #understand(tokens: TokenResponse, sent: number, previous: string | undefined): Tokens {
    const refreshToken = tokens.refresh_token ?? previous;
    if (refreshToken === undefined) throw new TypeError("there is no refresh token: this grant can't be kept fresh");
    const lifetime = 1_000 * tokens.expires_in;
    // Early, and not at the same moment as every other page that was opened with this one.
    const early = lifetime * (0.1 + 0.2 * Math.random());
    return {
      accessToken: tokens.access_token,
      refreshToken,
      refreshAt: sent + lifetime - early,
      expiresAt: sent + lifetime,
    };
  }
}
