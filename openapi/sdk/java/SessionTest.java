package dev.regrant;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import dev.regrant.api.TokensApi;
import dev.regrant.api.TokensApi.APIIssueTokenRequest;
import dev.regrant.model.TokenResponse;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.Test;

/** Tests of the session layer against a live server. REGRANT_URL names it; LOSSY_PROXY is tests/sdk/lossy_proxy.py. */
final class SessionTest {
  private static final int CALLERS = 100;
  private static final int LIFETIMES = 50;
  private static final String URL = System.getenv("REGRANT_URL");
  private static final Duration LIFETIME = Duration.ofMinutes(10);

  private final TurnedClock clock = new TurnedClock();

  /** A clock that the test turns. */
  private static final class TurnedClock extends Clock {
    private volatile Instant now = Instant.ofEpochSecond(1_000_000);

    void turn(Duration by) {
      now = now.plus(by);
    }

    @Override
    public Instant instant() {
      return now;
    }

    @Override
    public ZoneOffset getZone() {
      return ZoneOffset.UTC;
    }

    @Override
    public Clock withZone(java.time.ZoneId zone) {
      return this;
    }
  }

  private static ApiClient client(String url) {
    ApiClient client = new ApiClient();
    client.updateBaseUri(url);
    return client;
  }

  private static TokenResponse signIn(ApiClient client) throws ApiException {
    return new TokensApi(client).issueToken(APIIssueTokenRequest.newBuilder().grantType("password")
        .username("demo").password("demo-password").clientId("demo").clientSecret("demo-secret").build());
  }

  private Session session(ApiClient client, TokenResponse first) {
    return new Session(client, "demo", "demo-secret").clock(clock).patience(Duration.ofSeconds(20)).begin(first);
  }

  @Test
  void manyCallersRefreshOnceALifetimeThoughAnswersAreLost() throws Exception {
    Process proxy = new ProcessBuilder("python3", System.getenv("LOSSY_PROXY"), URL)
        .redirectError(ProcessBuilder.Redirect.INHERIT).start();
    ExecutorService callers = Executors.newFixedThreadPool(CALLERS);
    try (BufferedReader output =
        new BufferedReader(new InputStreamReader(proxy.getInputStream(), StandardCharsets.UTF_8))) {
      String url = output.readLine();
      ApiClient through = client(url);
      Session session = session(through, signIn(through));
      Set<String> known = new HashSet<>();
      List<Callable<String>> calls = Collections.nCopies(CALLERS, session::accessToken);
      for (int round = 0; round < LIFETIMES; round++) {
        clock.turn(LIFETIME);
        Set<String> answers = new HashSet<>();
        for (Future<String> answer : callers.invokeAll(calls)) {
          answers.add(answer.get());
        }
        assertEquals(1, answers.size(), "all callers got the one new token");
        assertTrue(known.addAll(answers), "it is a new one");
      }
      JsonNode seen = new com.fasterxml.jackson.databind.ObjectMapper().readTree(URI.create(url + "/-/seen").toURL());
      System.out.println(CALLERS + " callers, " + LIFETIMES + " lifetimes: " + seen);
      assertEquals(LIFETIMES, seen.get("tokens").asInt(), "one refresh a lifetime");
      assertEquals(LIFETIMES, seen.get("refreshes").asInt() - seen.get("lost").asInt(), "and its retries");
      assertNotEquals(0, seen.get("lost").asInt());
    } finally {
      callers.shutdownNow();
      proxy.destroy();
    }
  }

  @Test
  void itRefreshesEarlyAndHandsOutTheTokenAtHandMeanwhile() throws Exception {
    TokenResponse first = signIn(client(URL));
    List<TokenResponse> kept = Collections.synchronizedList(new ArrayList<>());
    Session session = session(client(URL), first).keep(kept::add);
    clock.turn(LIFETIME.multipliedBy(69).dividedBy(100));
    assertEquals(first.getAccessToken(), session.accessToken());
    clock.turn(LIFETIME.multipliedBy(22).dividedBy(100));
    assertEquals(first.getAccessToken(), session.accessToken());
    clock.turn(LIFETIME.multipliedBy(10).dividedBy(100));
    assertNotEquals(first.getAccessToken(), session.accessToken());
    assertFalse(kept.isEmpty());
  }

  @Test
  void aServerOutOfReachDoesNotEndTheSession() throws Exception {
    TokenResponse first = signIn(client(URL));
    Session session = session(client("http://127.0.0.1:1"), first).patience(Duration.ofMillis(200));
    clock.turn(LIFETIME.multipliedBy(95).dividedBy(100));
    assertEquals(first.getAccessToken(), session.accessToken(), "still good");
    clock.turn(LIFETIME);
    assertThrows(Session.Unavailable.class, session::accessToken);
    assertThrows(Session.Unavailable.class, session::accessToken);
    assertThrows(Session.Unavailable.class, session::signOut);
  }

  @Test
  void aRevokedGrantAsksForANewSignInOnceAndForAll() throws Exception {
    TokenResponse first = signIn(client(URL));
    Session thief = session(client(URL), first);
    Session owner = session(client(URL), first);
    for (int uses = 0; uses < 2; uses++) {
      clock.turn(LIFETIME);
      thief.accessToken();
    }
    assertThrows(Session.SignInAgain.class, owner::accessToken);
    assertThrows(Session.SignInAgain.class, owner::accessToken);
  }

  @Test
  void aWrongClientIsRefused() throws Exception {
    Session session = new Session(client(URL), "demo", "wrong").clock(clock).begin(signIn(client(URL)));
    assertEquals("invalid_client", assertThrows(Session.Refused.class, session::signOut).code);
    clock.turn(LIFETIME);
    assertEquals("invalid_client", assertThrows(Session.Refused.class, session::accessToken).code);
  }

  @Test
  void signingOutRevokesTheGrant() throws Exception {
    TokenResponse first = signIn(client(URL));
    Session session = session(client(URL), first);
    Session copy = session(client(URL), first);
    session.signOut();
    session.signOut();
    assertThrows(Session.SignInAgain.class, session::accessToken);
    clock.turn(LIFETIME);
    assertThrows(Session.SignInAgain.class, copy::accessToken);
  }
}
