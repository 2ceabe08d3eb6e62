package dev.regrant;

import dev.regrant.api.TokensApi;
import dev.regrant.api.TokensApi.APIIssueTokenRequest;
import dev.regrant.api.TokensApi.APIRevokeTokenRequest;
import dev.regrant.model.IssueTokenError;
import dev.regrant.model.RevokeTokenError;
import dev.regrant.model.TokenResponse;
import java.io.IOException;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ThreadLocalRandom;
import java.util.function.Consumer;

/** One signed-in session, which keeps an access token fresh. Any number of threads may call it at once. */
public final class Session {
  /** Signed out, or the refresh token is spent, expired or revoked: only a person signing in helps. */
  public static final class SignInAgain extends Exception {
    private static final long serialVersionUID = 1;

    SignInAgain(String message) {
      super(message);
    }
  }

  /** The server refused the request for a reason that trying again doesn't change, such as a wrong client. */
  public static final class Refused extends Exception {
    private static final long serialVersionUID = 1;

    /** The error code. */
    public final String code;

    Refused(String code, String message) {
      super(code + ": " + message);
      this.code = code;
    }
  }

  /** The server could not be reached in time. The session is still good: ask again later. */
  public static final class Unavailable extends Exception {
    private static final long serialVersionUID = 1;

    Unavailable(Throwable cause) {
      super(cause);
    }
  }

  private static final Duration LONGEST_PAUSE = Duration.ofSeconds(5);

  private final ApiClient client;
  private final TokensApi api;
  private final String clientId;
  private final String clientSecret;
  private Consumer<TokenResponse> keep = tokens -> {};
  private Duration patience = Duration.ofSeconds(20);
  private Clock clock = Clock.systemUTC();

  // Guarded by this.
  private Current current;
  private CompletableFuture<String> inFlight;
  private Exception ended;

  private static final class Current {
    final String accessToken;
    final String refreshToken;
    final Instant refreshAt;
    final Instant expiresAt;

    Current(TokenResponse tokens, Instant sent, String previous) {
      accessToken = tokens.getAccessToken();
      refreshToken = Objects.requireNonNullElse(tokens.getRefreshToken(), previous);
      // Early, and not at the same moment as every other process that started with this one.
      long lifetime = tokens.getExpiresIn() * 1000L;
      long early = (long) (lifetime * ThreadLocalRandom.current().nextDouble(0.1, 0.3));
      expiresAt = sent.plusMillis(lifetime);
      refreshAt = expiresAt.minusMillis(early);
    }
  }

  /**
   * @param client the generated client
   * @param clientSecret null for a public client
   */
  public Session(ApiClient client, String clientId, String clientSecret) {
    this.client = client;
    this.api = new TokensApi(client);
    this.clientId = clientId;
    this.clientSecret = clientSecret;
  }

  /** Called with every new answer before anybody sees its access token: store the refresh token there. */
  public Session keep(Consumer<TokenResponse> keep) {
    this.keep = keep;
    return this;
  }

  /** How long a refresh may try, shorter than the server's grace of 60 s. 20 s if you don't say. */
  public Session patience(Duration patience) {
    this.patience = patience;
    return this;
  }

  /** The clock that lifetimes are measured with. */
  public Session clock(Clock clock) {
    this.clock = clock;
    return this;
  }

  /** Starts from what the server sent, for whichever grant, with a refresh token. */
  public synchronized Session begin(TokenResponse tokens) {
    current = new Current(tokens, clock.instant(), null);
    ended = null;
    return this;
  }

  /** A fresh access token. */
  public String accessToken() throws SignInAgain, Refused, Unavailable, InterruptedException {
    CompletableFuture<String> running;
    synchronized (this) {
      if (ended != null) {
        throw rethrown(ended);
      }
      Instant now = clock.instant();
      if (now.isBefore(current.refreshAt)) {
        return current.accessToken;
      }
      if (inFlight == null) {
        start(this::refresh);
      }
      // The token at hand is good until it expires, so nobody waits and no trouble is anybody's yet.
      if (now.isBefore(current.expiresAt)) {
        return current.accessToken;
      }
      running = inFlight;
    }
    return result(running);
  }

  /**
   * Revokes the grant. From then on {@link #accessToken} throws {@link SignInAgain}. When this throws, the server has not
   * done it: the session is as it was, so call again.
   */
  public void signOut() throws Refused, Unavailable, InterruptedException {
    while (true) {
      CompletableFuture<String> running;
      synchronized (this) {
        if (ended != null) {
          return;
        }
        running = inFlight;
        if (running == null) {
          start(this::revoke);
          running = inFlight;
        }
      }
      try {
        result(running);
      } catch (SignInAgain over) {
        return;
      } catch (Refused | Unavailable failed) {
        synchronized (this) {
          if (ended == null) {
            throw failed;
          }
        }
      }
    }
  }

  private interface Act {
    String run() throws Exception;
  }

  /** On a thread of its own, so that it goes on when the caller is interrupted: others may wait for it. */
  private void start(Act act) {
    CompletableFuture<String> running = new CompletableFuture<>();
    inFlight = running;
    Thread thread = new Thread(() -> {
      try {
        String token = act.run();
        finish(null);
        running.complete(token);
      } catch (Exception failed) {
        finish(failed);
        running.completeExceptionally(failed);
      }
    }, "regrant-session");
    thread.setDaemon(true);
    thread.start();
  }

  private synchronized void finish(Exception failed) {
    inFlight = null;
    if (failed instanceof SignInAgain) {
      ended = failed;
    }
  }

  private String refresh() throws Exception {
    Current before = current();
    APIIssueTokenRequest request = APIIssueTokenRequest.newBuilder().grantType("refresh_token")
        .refreshToken(before.refreshToken).clientId(clientId).clientSecret(clientSecret).build();
    Instant[] sent = new Instant[1];
    TokenResponse tokens;
    try {
      tokens = answer(() -> {
        sent[0] = clock.instant();
        return api.issueToken(request);
      }, body -> {
        IssueTokenError error = client.getObjectMapper().readValue(body, IssueTokenError.class);
        return new Refused(error.getError().getValue(), error.getErrorDescription());
      });
    } catch (Refused refused) {
      Exception why = "invalid_grant".equals(refused.code) ? new SignInAgain(refused.getMessage()) : refused;
      synchronized (this) {
        ended = why;
      }
      throw why;
    }
    Current next = new Current(tokens, sent[0], before.refreshToken);
    keep.accept(tokens);
    synchronized (this) {
      current = next;
    }
    return next.accessToken;
  }

  private String revoke() throws Exception {
    APIRevokeTokenRequest request = APIRevokeTokenRequest.newBuilder()
        .token(current().refreshToken).clientId(clientId).clientSecret(clientSecret).build();
    answer(() -> {
      api.revokeToken(request);
      return null;
    }, body -> {
      RevokeTokenError error = client.getObjectMapper().readValue(body, RevokeTokenError.class);
      return new Refused(error.getError().getValue(), error.getErrorDescription());
    });
    throw new SignInAgain("signed out");
  }

  private synchronized Current current() {
    return current;
  }

  private interface Call<T> {
    T send() throws ApiException;
  }

  private interface Refusal {
    Refused read(String body) throws IOException;
  }

  /** Sends the same request until there is an answer: the server gives the same successor again. */
  private <T> T answer(Call<T> call, Refusal refusal) throws Refused, Unavailable, InterruptedException {
    long giveUp = System.nanoTime() + patience.toNanos();
    for (Duration pause = Duration.ofMillis(50);; pause = shorter(pause.multipliedBy(2), LONGEST_PAUSE)) {
      ApiException trouble;
      try {
        return call.send();
      } catch (ApiException failed) {
        trouble = failed;
      }
      // No code: the answer was lost.
      if (trouble.getCode() >= 400 && trouble.getCode() < 500) {
        try {
          throw refusal.read(trouble.getResponseBody());
        } catch (IOException | RuntimeException unreadable) {
          trouble.addSuppressed(unreadable);
        }
      }
      if (trouble.getResponseHeaders() != null) {
        Duration asked = Duration.ofSeconds(trouble.getResponseHeaders().firstValueAsLong("Retry-After").orElse(0));
        pause = asked.compareTo(pause) > 0 ? asked : pause;
      }
      if (System.nanoTime() + pause.toNanos() > giveUp) {
        throw new Unavailable(trouble);
      }
      Thread.sleep((long) (pause.toMillis() * ThreadLocalRandom.current().nextDouble(0.5, 1.0)));
    }
  }

  private static Duration shorter(Duration one, Duration other) {
    return one.compareTo(other) < 0 ? one : other;
  }

  private static String result(CompletableFuture<String> running)
      throws SignInAgain, Refused, Unavailable, InterruptedException {
    try {
      return running.get();
    } catch (ExecutionException failed) {
      throw rethrown(failed.getCause());
    }
  }

  /** Throws what it is given as what it is; a fault of the code below is unchecked. */
  private static IllegalStateException rethrown(Throwable failed) throws SignInAgain, Refused, Unavailable {
    if (failed instanceof SignInAgain) {
      throw (SignInAgain) failed;
    }
    if (failed instanceof Refused) {
      throw (Refused) failed;
    }
    if (failed instanceof Unavailable) {
      throw (Unavailable) failed;
    }
    return new IllegalStateException(failed);
  }
}
