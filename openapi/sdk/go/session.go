package regrant

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// ErrSignInAgain: signed out, or the refresh token is spent, expired or revoked. Only a person signing in helps.
var ErrSignInAgain = errors.New("sign in again")

// ErrUnavailable: the server could not be reached in time. The session is still good: ask again later.
var ErrUnavailable = errors.New("the authorization server is not available")

// RefusedError: the server refused the request for a reason that trying again doesn't change, such as a wrong client.
type RefusedError struct {
	Code        string `json:"error"`
	Description string `json:"error_description"`
	URI         string `json:"error_uri"`
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("%s: %s (%s)", e.Code, e.Description, e.URI)
}

// Session is one signed-in session. Any number of goroutines may call it at once.
type Session struct {
	// Client is the generated client.
	Client *ClientWithResponses
	// ClientID and ClientSecret authenticate the client; a public client has no secret.
	ClientID, ClientSecret string
	// Keep is called with every new answer before anybody sees its access token. May be nil.
	Keep func(TokenResponse)
	// Patience is how long a refresh may try, shorter than the server's grace of 60 s. Zero means 20 s.
	Patience time.Duration
	// Now is the clock. Nil means time.Now.
	Now func() time.Time

	mutex   sync.Mutex
	current tokens
	flight  *flight
	ended   error
}

type tokens struct {
	access, refresh      string
	refreshAt, expiresAt time.Time
}

// flight is a refresh under way. Its result may be read once done is closed.
type flight struct {
	done   chan struct{}
	access string
	err    error
}

// Begin starts from what the server sent, for whichever grant, with a refresh token.
func (s *Session) Begin(answer TokenResponse) error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	current, err := understand(answer, s.now(), "")
	if err != nil {
		return err
	}
	s.current, s.ended = current, nil
	return nil
}

// AccessToken returns a fresh access token.
//
// Its error is ErrSignInAgain, a *RefusedError, ErrUnavailable, or the context's. The refresh goes on when the caller's
// context ends, because others may wait for it.
func (s *Session) AccessToken(ctx context.Context) (string, error) {
	s.mutex.Lock()
	if s.ended != nil {
		defer s.mutex.Unlock()
		return "", s.ended
	}
	now, current := s.now(), s.current
	if now.Before(current.refreshAt) {
		s.mutex.Unlock()
		return current.access, nil
	}
	running := s.flight
	if running == nil {
		running = &flight{done: make(chan struct{})}
		s.flight = running
		go s.fly(running, current.refresh)
	}
	s.mutex.Unlock()
	// The token at hand is good until it expires, so nobody waits and no trouble is anybody's yet.
	if now.Before(current.expiresAt) {
		return current.access, nil
	}
	select {
	case <-running.done:
		return running.access, running.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// SignOut revokes the grant. From then on AccessToken returns ErrSignInAgain.
//
// On any error the server has not done it: the session is as it was, so call again.
func (s *Session) SignOut(ctx context.Context) error {
	s.mutex.Lock()
	for s.flight != nil {
		running := s.flight
		s.mutex.Unlock()
		select {
		case <-running.done:
		case <-ctx.Done():
			return ctx.Err()
		}
		s.mutex.Lock()
	}
	if s.ended != nil {
		s.mutex.Unlock()
		return nil
	}
	leaving := &flight{done: make(chan struct{})}
	s.flight = leaving
	form := RevocationRequest{Token: s.current.refresh, ClientId: &s.ClientID, ClientSecret: s.secret()}
	s.mutex.Unlock()

	err := s.answer(ctx, func(ctx context.Context) (*http.Response, []byte, error) {
		got, err := s.Client.RevokeTokenWithFormdataBodyWithResponse(ctx, form)
		if err != nil {
			return nil, nil, err
		}
		return got.HTTPResponse, got.Body, nil
	})
	s.mutex.Lock()
	defer s.mutex.Unlock()
	leaving.err = ErrUnavailable
	if err == nil {
		s.ended = fmt.Errorf("%w: signed out", ErrSignInAgain)
		leaving.err = s.ended
	}
	s.flight = nil
	close(leaving.done)
	return err
}

func (s *Session) fly(running *flight, refreshToken string) {
	next, err := s.refresh(refreshToken)
	s.mutex.Lock()
	defer s.mutex.Unlock()
	var refused *RefusedError
	switch {
	case err == nil:
		s.current, running.access = next, next.access
	case errors.Is(err, ErrSignInAgain) || errors.As(err, &refused):
		s.ended = err
	}
	running.err, s.flight = err, nil
	close(running.done)
}

func (s *Session) refresh(refreshToken string) (tokens, error) {
	form := TokenRequest{
		GrantType: "refresh_token", RefreshToken: &refreshToken, ClientId: &s.ClientID, ClientSecret: s.secret(),
	}
	var sent time.Time
	var issued *TokenResponse
	err := s.answer(context.Background(), func(ctx context.Context) (*http.Response, []byte, error) {
		sent = s.now()
		got, err := s.Client.IssueTokenWithFormdataBodyWithResponse(ctx, form)
		if err != nil {
			return nil, nil, err
		}
		issued = got.JSON200
		return got.HTTPResponse, got.Body, nil
	})
	if refused := (*RefusedError)(nil); errors.As(err, &refused) && refused.Code == "invalid_grant" {
		return tokens{}, fmt.Errorf("%w: %s", ErrSignInAgain, refused.Description)
	}
	if err != nil {
		return tokens{}, err
	}
	if issued == nil {
		return tokens{}, errors.New("the answer has no tokens")
	}
	next, err := understand(*issued, sent, refreshToken)
	if err == nil && s.Keep != nil {
		s.Keep(*issued)
	}
	return next, err
}

// answer sends the same request until there is an answer: the server gives the same successor again.
func (s *Session) answer(ctx context.Context, send func(context.Context) (*http.Response, []byte, error)) error {
	patience := s.Patience
	if patience == 0 {
		patience = 20 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		got, body, err := send(ctx)
		if err == nil {
			if got.StatusCode == http.StatusOK {
				return nil
			}
			refused := new(RefusedError)
			if got.StatusCode < 500 && json.Unmarshal(body, refused) == nil && refused.Code != "" {
				return refused
			}
			err = errors.New(got.Status)
			seconds, _ := strconv.Atoi(got.Header.Get("Retry-After"))
			pause = max(pause, time.Duration(seconds)*time.Second)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		case <-time.After(pause/2 + rand.N(pause/2)):
		}
	}
}

// secret is nil for a public client.
func (s *Session) secret() *string {
	if s.ClientSecret == "" {
		return nil
	}
	return &s.ClientSecret
}

func (s *Session) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}

func understand(answer TokenResponse, sent time.Time, previous string) (tokens, error) {
	if answer.RefreshToken != nil {
		previous = *answer.RefreshToken
	}
	if previous == "" {
		return tokens{}, errors.New("there is no refresh token: this grant can't be kept fresh")
	}
	lifetime := time.Duration(answer.ExpiresIn) * time.Second
	// Early, and not at the same moment as every other process that started with this one.
	early := lifetime/10 + time.Duration(rand.Float64()*float64(lifetime)/5)
	return tokens{answer.AccessToken, previous, sent.Add(lifetime - early), sent.Add(lifetime)}, nil
}
