package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// The vector of the Standard Webhooks specification's own libraries.
const (
	secret    = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	id        = "msg_p5jXN8AQM9LWM0D4loKWxJek"
	timestamp = 1614265330
	body      = `{"test": 2432232314}`
	signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
)

func signed() http.Header {
	header := http.Header{}
	header.Set("webhook-id", id)
	header.Set("webhook-timestamp", "1614265330")
	header.Set("webhook-signature", signature)
	return header
}

func TestAGenuineSignatureIsAccepted(t *testing.T) {
	if err := Verify(secret, signed(), []byte(body), time.Unix(timestamp, 0)); err != nil {
		t.Fatal(err)
	}
}

func TestAChangedBodyAnOldTimestampAndAWrongKeyAreRefused(t *testing.T) {
	now := time.Unix(timestamp, 0)
	if Verify(secret, signed(), []byte(body+" "), now) == nil {
		t.Error("a changed body was accepted")
	}
	if Verify(secret, signed(), []byte(body), now.Add(time.Hour)) == nil {
		t.Error("an old timestamp was accepted")
	}
	if Verify("whsec_AAAA", signed(), []byte(body), now) == nil {
		t.Error("a wrong key was accepted")
	}
}

func TestARepeatedDeliveryIsAnsweredAndHandledOnce(t *testing.T) {
	receiver := NewReceiver("")
	for i := 0; i < 2; i++ {
		request := httptest.NewRequest(http.MethodPost, "/api/ai/notify", strings.NewReader(`{"task_id": 7}`))
		request.Header.Set("webhook-id", "the-same")
		recorder := httptest.NewRecorder()
		receiver.ServeHTTP(recorder, request)
		if recorder.Code != http.StatusOK || !strings.Contains(recorder.Body.String(), `"err_code":0`) {
			t.Fatalf("answered %d %s", recorder.Code, recorder.Body)
		}
	}
	if len(receiver.Notices) != 1 {
		t.Fatalf("handled %d times", len(receiver.Notices))
	}
}

func TestAnUnsignedCallbackReachesNobody(t *testing.T) {
	receiver := NewReceiver(secret)
	request := httptest.NewRequest(http.MethodPost, "/api/ai/notify", strings.NewReader(`{"task_id": 7}`))
	recorder := httptest.NewRecorder()
	receiver.ServeHTTP(recorder, request)
	if recorder.Code != http.StatusUnauthorized || len(receiver.Notices) != 0 {
		t.Fatalf("answered %d, handled %d", recorder.Code, len(receiver.Notices))
	}
}

func TestASecretThatIsNoneAcceptsNothing(t *testing.T) {
	if Verify("whsec_", signed(), []byte(body), time.Unix(timestamp, 0)) == nil {
		t.Error("an empty key was accepted")
	}
	if Verify("whsec_ not base64", signed(), []byte(body), time.Unix(timestamp, 0)) == nil {
		t.Error("a key that is no base64 was accepted")
	}
}

func TestDuringARotationOneOfSeveralSignaturesIsEnough(t *testing.T) {
	header := signed()
	header.Set("webhook-signature", "v1,AAAA "+signature)
	if err := Verify(secret, header, []byte(body), time.Unix(timestamp, 0)); err != nil {
		t.Fatal(err)
	}
}
