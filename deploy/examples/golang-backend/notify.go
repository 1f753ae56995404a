package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// tolerance is how far a signed timestamp may lie from our clock; older requests may be replays.
const tolerance = 5 * time.Minute

var errSignature = errors.New("the signature does not fit")

// Receiver answers POST /api/ai/notify. Each callback reaches Notices once, however often it is delivered.
type Receiver struct {
	Secret  string // "whsec_…", as KINORA_WEBHOOK_SECRET; empty: signatures are not checked
	Notices chan Notice

	mutex sync.Mutex
	seen  map[string]bool // idempotency keys; a real backend keeps them in its database
}

// backlog is how many notices may wait to be handled; beyond it the sender waits for its answer, and tries again.
const backlog = 1024

// NewReceiver returns a receiver that holds notices until they are taken from its channel.
func NewReceiver(secret string) *Receiver {
	return &Receiver{Secret: secret, Notices: make(chan Notice, backlog), seen: map[string]bool{}}
}

func (r *Receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	if request.Method != http.MethodPost {
		reply(w, http.StatusMethodNotAllowed, "callbacks come as POST")
		return
	}
	body, err := io.ReadAll(io.LimitReader(request.Body, 64<<10))
	if err != nil {
		reply(w, http.StatusBadRequest, err.Error())
		return
	}
	if err := Verify(r.Secret, request.Header, body, time.Now()); err != nil {
		reply(w, http.StatusUnauthorized, err.Error())
		return
	}
	var notice Notice
	if err := json.Unmarshal(body, &notice); err != nil {
		reply(w, http.StatusBadRequest, err.Error())
		return
	}
	if r.isNew(request.Header.Get("webhook-id")) {
		r.Notices <- notice
	}
	reply(w, http.StatusOK, "")
}

// isNew remembers an idempotency key. Delivery is at least once: the same key may come again after a lost answer.
func (r *Receiver) isNew(key string) bool {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if r.seen[key] {
		return false
	}
	r.seen[key] = true
	return true
}

// Verify checks a signature after the Standard Webhooks specification: base64 of HMAC-SHA256 over "id.timestamp.body".
func Verify(secret string, header http.Header, body []byte, now time.Time) error {
	if secret == "" {
		return nil
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil || len(key) == 0 {
		return errors.New("KINORA_WEBHOOK_SECRET is not whsec_ and base64") // an empty key would accept anybody's
	}
	id, timestamp := header.Get("webhook-id"), header.Get("webhook-timestamp")
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil {
		return errSignature
	}
	if age := now.Sub(time.Unix(seconds, 0)); age > tolerance || age < -tolerance {
		return errSignature
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + timestamp + "."))
	mac.Write(body)
	want := mac.Sum(nil)
	// Several signatures may come while a secret is being rotated: one that fits is enough.
	for _, entry := range strings.Fields(header.Get("webhook-signature")) {
		version, encoded, _ := strings.Cut(entry, ",")
		got, err := base64.StdEncoding.DecodeString(encoded)
		if version == "v1" && err == nil && hmac.Equal(got, want) {
			return nil
		}
	}
	return errSignature
}

// reply says what Kinora needs to know: err_code 0 is "delivered", anything else brings the callback again later.
func reply(w http.ResponseWriter, status int, reason string) {
	answer := Answer{ErrMsg: reason}
	if reason != "" {
		answer.ErrCode = -1
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		log.Print(err)
	}
}
