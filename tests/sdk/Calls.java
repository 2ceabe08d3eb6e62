import dev.regrant.ApiClient;
import dev.regrant.ApiException;
import dev.regrant.api.TokensApi;
import dev.regrant.api.TokensApi.APIIntrospectTokenRequest;
import dev.regrant.api.TokensApi.APIIssueTokenRequest;
import dev.regrant.api.TokensApi.APIRevokeTokenRequest;
import dev.regrant.model.IssueTokenError;
import dev.regrant.model.IssueTokenError.ErrorEnum;
import dev.regrant.model.TokenResponse;

/** Uses the Java SDK against a live server; one line for each call that went as it should. */
final class Calls {
  private static final ApiClient CLIENT = new ApiClient();
  private static final TokensApi API;

  static {
    CLIENT.updateBaseUri(System.getenv("REGRANT_URL"));
    API = new TokensApi(CLIENT);
  }

  public static void main(String[] arguments) throws Exception {
    TokenResponse first = API.issueToken(password("demo-password"));
    passed("password", "Bearer".equals(first.getTokenType()));
    TokenResponse second = API.issueToken(refresh(first));
    passed("refresh", !second.getRefreshToken().equals(first.getRefreshToken()));
    TokenResponse third = API.issueToken(refresh(second));
    passed("rotated", third.getAccessToken() != null);
    passed("introspect", active(third.getAccessToken()));
    passed("replay", refusal(refresh(first)) == ErrorEnum.INVALID_GRANT);
    TokenResponse again = API.issueToken(password("demo-password"));
    API.revokeToken(APIRevokeTokenRequest.newBuilder()
        .token(again.getRefreshToken()).clientId("demo").clientSecret("demo-secret").build());
    passed("revoke", !active(again.getAccessToken()));
    passed("typed-error", refusal(password("wrong")) == ErrorEnum.INVALID_GRANT);
  }

  private static APIIssueTokenRequest password(String password) {
    return form("password").username("demo").password(password).build();
  }

  private static APIIssueTokenRequest refresh(TokenResponse tokens) {
    return form("refresh_token").refreshToken(tokens.getRefreshToken()).build();
  }

  private static APIIssueTokenRequest.Builder form(String grantType) {
    return APIIssueTokenRequest.newBuilder().grantType(grantType).clientId("demo").clientSecret("demo-secret");
  }

  private static boolean active(String token) throws ApiException {
    return API.introspectToken(APIIntrospectTokenRequest.newBuilder()
        .token(token).clientId("demo").clientSecret("demo-secret").build()).getActive();
  }

  private static ErrorEnum refusal(APIIssueTokenRequest request) throws Exception {
    try {
      API.issueToken(request);
      throw new AssertionError("it was not refused");
    } catch (ApiException refused) {
      return CLIENT.getObjectMapper().readValue(refused.getResponseBody(), IssueTokenError.class).getError();
    }
  }

  private static void passed(String call, boolean condition) {
    if (!condition) {
      throw new AssertionError(call);
    }
    System.out.println("ok " + call);
  }
}
