// Uses the Go SDK against a live server; one line for each call that went as it should.
package main

import (
	"context"
	"fmt"
	"os"

	regrant "regrant.dev/sdk"
)

var client *regrant.ClientWithResponses

func main() {
	made, err := regrant.NewClientWithResponses(os.Getenv("REGRANT_URL"))
	must(err == nil, err)
	client = made

	first := tokens(issue(password("demo-password")))
	passed("password", first.TokenType == "Bearer")
	second := tokens(issue(refresh(first)))
	passed("refresh", *second.RefreshToken != *first.RefreshToken)
	third := tokens(issue(refresh(second)))
	passed("rotated", third.AccessToken != "")
	passed("introspect", active(third.AccessToken))
	passed("replay", refusal(refresh(first)) == "invalid_grant")
	again := tokens(issue(password("demo-password")))
	id, secret := "demo", "demo-secret"
	form := regrant.RevocationRequest{Token: *again.RefreshToken, ClientId: &id, ClientSecret: &secret}
	revoked, err := client.RevokeTokenWithFormdataBodyWithResponse(context.Background(), form)
	must(err == nil && revoked.StatusCode() == 200, err)
	passed("revoke", !active(again.AccessToken))
	passed("typed-error", refusal(password("wrong")) == "invalid_grant")
}

func password(password string) regrant.TokenRequest {
	name := "demo"
	return regrant.TokenRequest{GrantType: "password", Username: &name, Password: &password}
}

func refresh(tokens *regrant.TokenResponse) regrant.TokenRequest {
	return regrant.TokenRequest{GrantType: "refresh_token", RefreshToken: tokens.RefreshToken}
}

func issue(form regrant.TokenRequest) *regrant.IssueTokenResponse {
	id, secret := "demo", "demo-secret"
	form.ClientId, form.ClientSecret = &id, &secret
	answer, err := client.IssueTokenWithFormdataBodyWithResponse(context.Background(), form)
	must(err == nil, err)
	return answer
}

func tokens(answer *regrant.IssueTokenResponse) *regrant.TokenResponse {
	must(answer.JSON200 != nil, answer.Status())
	return answer.JSON200
}

func refusal(form regrant.TokenRequest) regrant.IssueTokenErrorError {
	answer := issue(form)
	must(answer.JSON400 != nil, answer.Status())
	return answer.JSON400.Error
}

func active(token string) bool {
	id, secret := "demo", "demo-secret"
	form := regrant.IntrospectionRequest{Token: token, ClientId: &id, ClientSecret: &secret}
	answer, err := client.IntrospectTokenWithFormdataBodyWithResponse(context.Background(), form)
	must(err == nil && answer.JSON200 != nil, err)
	return answer.JSON200.Active
}

func passed(call string, condition bool) {
	must(condition, call)
	fmt.Println("ok", call)
}

func must(condition bool, why any) {
	if !condition {
		fmt.Fprintln(os.Stderr, "FAILED", why)
		os.Exit(1)
	}
}
