package regrant

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

const callers, lifetimes = 100, 50

func client(t *testing.T, url string) *ClientWithResponses {
	t.Helper()
	made, err := NewClientWithResponses(url)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func signIn(t *testing.T, client *ClientWithResponses) TokenResponse {
	t.Helper()
	id, secret, name, password := "demo", "demo-secret", "demo", "demo-password"
	form := TokenRequest{GrantType: "password", Username: &name, Password: &password, ClientId: &id, ClientSecret: &secret}
	answer, err := client.IssueTokenWithFormdataBodyWithResponse(context.Background(), form)
	if err != nil || answer.JSON200 == nil {
		t.Fatal(err, answer)
	}
	return *answer.JSON200
}

// session is signed in; the second function turns its clock.
func session(t *testing.T, client *ClientWithResponses, first TokenResponse) (*Session, func(time.Duration)) {
	t.Helper()
	var mutex sync.Mutex
	now := time.Unix(1_000_000, 0)
	made := &Session{Client: client, ClientID: "demo", ClientSecret: "demo-secret", Now: func() time.Time {
		mutex.Lock()
		defer mutex.Unlock()
		return now
	}}
	if err := made.Begin(first); err != nil {
		t.Fatal(err)
	}
	return made, func(by time.Duration) {
		mutex.Lock()
		defer mutex.Unlock()
		now = now.Add(by)
	}
}

func TestManyCallersRefreshOnceALifetimeThoughAnswersAreLost(t *testing.T) {
	proxy := exec.Command("python3", os.Getenv("LOSSY_PROXY"), os.Getenv("REGRANT_URL"))
	output, err := proxy.StdoutPipe()
	if err != nil || proxy.Start() != nil {
		t.Fatal("the proxy does not start", err)
	}
	defer func() { _ = proxy.Process.Kill(); _ = proxy.Wait() }()
	line, err := bufio.NewReader(output).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	url := strings.TrimSpace(line)

	through := client(t, url)
	session, turn := session(t, through, signIn(t, through))
	known := map[string]bool{}
	for range lifetimes {
		turn(10 * time.Minute)
		var wait sync.WaitGroup
		answers := make([]string, callers)
		for index := range callers {
			wait.Go(func() {
				answer, err := session.AccessToken(context.Background())
				if err != nil {
					t.Error(err)
				}
				answers[index] = answer
			})
		}
		wait.Wait()
		for _, answer := range answers {
			if answer != answers[0] || known[answer] {
				t.Fatal("not all callers got the one new token")
			}
		}
		known[answers[0]] = true
	}
	response, err := http.Get(url + "/-/seen")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	var seen struct{ Refreshes, Lost, Tokens int }
	if err := json.NewDecoder(response.Body).Decode(&seen); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d callers, %d lifetimes: %+v", callers, lifetimes, seen)
	if seen.Tokens != lifetimes || seen.Refreshes-seen.Lost != lifetimes || seen.Lost == 0 {
		t.Fatalf("one refresh a lifetime and its retries: %+v", seen)
	}
}

func TestAServerOutOfReachDoesNotEndTheSession(t *testing.T) {
	first := signIn(t, client(t, os.Getenv("REGRANT_URL")))
	session, turn := session(t, client(t, "http://127.0.0.1:1"), first)
	session.Patience = 200 * time.Millisecond
	turn(570 * time.Second)
	if token, err := session.AccessToken(context.Background()); err != nil || token != first.AccessToken {
		t.Fatal("the token at hand is still good", err)
	}
	turn(10 * time.Minute)
	for range 2 {
		if _, err := session.AccessToken(context.Background()); !errors.Is(err, ErrUnavailable) {
			t.Fatal(err)
		}
	}
}

func TestARevokedGrantAsksForANewSignInOnceAndForAll(t *testing.T) {
	live := client(t, os.Getenv("REGRANT_URL"))
	first := signIn(t, live)
	thief, turnThief := session(t, live, first)
	owner, turnOwner := session(t, live, first)
	for range 2 {
		turnThief(10 * time.Minute)
		if _, err := thief.AccessToken(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	turnOwner(10 * time.Minute)
	for range 2 {
		if _, err := owner.AccessToken(context.Background()); !errors.Is(err, ErrSignInAgain) {
			t.Fatal(err)
		}
	}
}

func TestSigningOutRevokesTheGrant(t *testing.T) {
	live := client(t, os.Getenv("REGRANT_URL"))
	first := signIn(t, live)
	owner, _ := session(t, live, first)
	copied, turn := session(t, live, first)
	for range 2 {
		if err := owner.SignOut(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	turn(10 * time.Minute)
	for _, left := range []*Session{owner, copied} {
		if _, err := left.AccessToken(context.Background()); !errors.Is(err, ErrSignInAgain) {
			t.Fatal(err)
		}
	}
}

func TestSigningOutWithoutTheServerLeavesTheSessionAsItWas(t *testing.T) {
	first := signIn(t, client(t, os.Getenv("REGRANT_URL")))
	session, _ := session(t, client(t, "http://127.0.0.1:1"), first)
	session.Patience = 200 * time.Millisecond
	if err := session.SignOut(context.Background()); !errors.Is(err, ErrUnavailable) {
		t.Fatal(err)
	}
	if token, err := session.AccessToken(context.Background()); err != nil || token != first.AccessToken {
		t.Fatal("the token at hand is still good", err)
	}
}
