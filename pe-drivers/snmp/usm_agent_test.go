package snmp

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/binary"
	"net"
	"sync"
	"testing"
	"time"
)

// usmAgent speaks SNMPv3 with SHA-256 and AES-128 from scratch (RFC 3412, section 6;
// RFC 3414; RFC 3826; RFC 7860): every octet that it takes or sends is made here, so
// that what it says, and when, is the test's.
type usmAgent struct {
	conn              *net.UDPConn
	driver            waiting
	authKey, privKey  []byte
	boots, engineTime uint32

	mu sync.Mutex
	// meet decides about a request and may send what it likes; nil answers each.
	meet func(r usmRequest)
	seen []usmRequest
}

// usmRequest is a message that came in.
type usmRequest struct {
	a          *usmAgent
	from       *net.UDPAddr
	msgID      int
	auth, priv bool
	discovery  bool // no engine id in it
	requestID  int
	pdu        int    // tag; 0 if it cannot be read
	context    string // name
	oids       []byte // the varbinds' names, each a BER OID
	n          int    // of its kind (discovery, without and with privacy), from 1
}

const (
	usmEngine = "\x80\x00\x1f\x88\x04fake"
	usmAuth   = "auth-secret"
	usmPriv   = "priv-secret"
)

func newUSMAgent(t *testing.T, meet func(usmRequest)) *usmAgent {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	a := &usmAgent{conn: conn, meet: meet, boots: 3, engineTime: 1000, authKey: localKey(usmAuth), privKey: localKey(usmPriv)[:16]}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 65535)
		for {
			n, from, err := conn.ReadFromUDP(buf)
			if err != nil {
				return
			}
			a.take(bytes.Clone(buf[:n]), from)
		}
	}()
	t.Cleanup(func() { _ = conn.Close(); <-done })
	return a
}

// config is that of a driver to the agent. It waits long: this machine may be busy.
func (a *usmAgent) config(retries int) Config {
	return Config{
		PE: "pe1", Address: a.conn.LocalAddr().String(), User: "u", AuthProtocol: "sha256", AuthPassword: usmAuth,
		PrivProtocol: "aes128", PrivPassword: usmPriv, Timeout: 10 * time.Second, Retries: retries,
	}
}

func (a *usmAgent) count(match func(usmRequest) bool) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := 0
	for _, r := range a.seen {
		if match(r) {
			n++
		}
	}
	return n
}

// localKey turns a password into the engine's key (RFC 3414, sections 2.6 and A.2).
func localKey(password string) []byte {
	long := bytes.Repeat([]byte(password), 1<<20/len(password)+1)[:1<<20]
	ku := sha256.Sum256(long)
	kul := sha256.Sum256([]byte(string(ku[:]) + usmEngine + string(ku[:])))
	return kul[:]
}

// tlv writes one BER element, der takes the next one.
func tlv(tag byte, content ...[]byte) []byte {
	c := bytes.Join(content, nil)
	switch n := len(c); {
	case n < 128:
		return append([]byte{tag, byte(n)}, c...)
	case n < 256:
		return append([]byte{tag, 0x81, byte(n)}, c...)
	default:
		return append([]byte{tag, 0x82, byte(n >> 8), byte(n)}, c...)
	}
}

func der(b []byte) (tag int, content, rest []byte) {
	var v asn1.RawValue
	rest, err := asn1.Unmarshal(b, &v)
	if err != nil {
		return 0, nil, nil
	}
	return int(v.FullBytes[0]), v.Bytes, rest
}

func intOf(b []byte) int {
	n := 0
	for _, x := range b {
		n = n<<8 | int(x)
	}
	return n
}

func integer(n int) []byte { b, _ := asn1.Marshal(n); return b }

func (a *usmAgent) take(msg []byte, from *net.UDPAddr) {
	r := usmRequest{a: a, from: from}
	_, body, _ := der(msg)
	_, _, body = der(body) // version
	_, global, body := der(body)
	_, id, global := der(global)
	_, _, global = der(global) // largest message
	_, flags, _ := der(global)
	_, sec, body := der(body)
	_, params, _ := der(sec)
	_, engine, params := der(params)
	_, boots, params := der(params)
	_, etime, params := der(params)
	_, _, params = der(params) // user
	_, _, params = der(params) // digest
	_, salt, _ := der(params)
	r.msgID, r.auth, r.priv, r.discovery = intOf(id), flags[0]&1 != 0, flags[0]&2 != 0, len(engine) == 0
	scoped := body
	if r.priv {
		_, enc, _ := der(body)
		scoped = a.crypt(enc, salt, uint32(intOf(boots)), uint32(intOf(etime)), false)
	}
	if tag, in, _ := der(scoped); tag == 0x30 {
		_, _, in = der(in) // context engine
		_, name, in := der(in)
		tag, pdu, _ := der(in)
		_, reqID, pdu := der(pdu)
		_, _, pdu = der(pdu)
		_, _, pdu = der(pdu)
		_, binds, _ := der(pdu)
		r.pdu, r.requestID, r.context = tag, intOf(reqID), string(name)
		for len(binds) > 0 {
			var bind []byte
			_, bind, binds = der(binds)
			_, oid, _ := der(bind)
			r.oids = append(r.oids, tlv(6, oid)...)
		}
	}
	a.mu.Lock()
	r.n = 1
	for _, o := range a.seen {
		if o.discovery == r.discovery && o.priv == r.priv {
			r.n++
		}
	}
	a.seen = append(a.seen, r)
	a.mu.Unlock()
	if a.meet != nil {
		a.meet(r)
		return
	}
	r.answer()
}

// crypt is AES-128 in CFB mode (RFC 3826, section 3.1.4).
func (a *usmAgent) crypt(b, salt []byte, boots, etime uint32, encrypt bool) []byte {
	iv := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, boots), etime)
	block, err := aes.NewCipher(a.privKey)
	if err != nil {
		panic(err)
	}
	out := make([]byte, len(b))
	if encrypt {
		cipher.NewCFBEncrypter(block, append(iv, salt...)).XORKeyStream(out, b) //nolint:staticcheck // what RFC 3826 asks for
	} else {
		cipher.NewCFBDecrypter(block, append(iv, salt...)).XORKeyStream(out, b) //nolint:staticcheck // what RFC 3826 asks for
	}
	return out
}

// answer says what an agent in good health says: a Report to discovery, else 42
// (TimeTicks) for each question.
func (r usmRequest) answer() {
	if r.discovery {
		r.report(4, r.msgID)
		return
	}
	var binds []byte
	for rest := r.oids; len(rest) > 0; {
		var oid []byte
		_, oid, rest = der(rest)
		binds = append(binds, tlv(0x30, tlv(6, oid), []byte{0x43, 1, 42})...)
	}
	r.send(r.msgID, r.auth, r.priv, tlv(0xa2, integer(r.requestID), integer(0), integer(0), tlv(0x30, binds)))
}

// lost: the message gets no answer, and the driver's wait for one is over.
func (r usmRequest) lost() { r.a.driver.over(0) }

// reportOther sends the Report of a counter as the answer to another message, and
// nothing else.
func (r usmRequest) reportOther(counter byte) {
	r.a.driver.over(200 * time.Millisecond) // time to read it
	r.report(counter, r.msgID+1000)
}

// report sends the Report of one of usmStats' counters in the clear, as the answer
// to a message.
func (r usmRequest) report(counter byte, msgID int) {
	oid := []byte{6, 10, 0x2b, 6, 1, 6, 3, 15, 1, 1, counter, 0} // 1.3.6.1.6.3.15.1.1.counter.0
	r.send(msgID, false, false, tlv(0xa8, integer(r.requestID), integer(0), integer(0), tlv(0x30, tlv(0x30, oid, []byte{0x41, 1, 7}))))
}

func (r usmRequest) send(msgID int, auth, priv bool, pdu []byte) {
	a := r.a
	flags, digest, salt := byte(0), []byte(nil), []byte(nil)
	data := tlv(0x30, tlv(4, []byte(usmEngine)), tlv(4), pdu)
	if priv {
		flags |= 2
		salt = []byte("saltsalt")
		data = tlv(4, a.crypt(data, salt, a.boots, a.engineTime, true))
	}
	if auth {
		flags |= 1
		digest = make([]byte, 24)
	}
	params := tlv(0x30, tlv(4, []byte(usmEngine)), integer(int(a.boots)), integer(int(a.engineTime)), tlv(4, []byte("u")), tlv(4, digest), tlv(4, salt))
	msg := tlv(0x30, integer(3), tlv(0x30, integer(msgID), integer(65507), tlv(4, []byte{flags}), integer(3)), tlv(4, params), data)
	if auth {
		mac := hmac.New(sha256.New, a.authKey)
		mac.Write(msg)
		at := bytes.Index(msg, append([]byte{4, 24}, digest...)) + 2
		copy(msg[at:], mac.Sum(nil)[:24])
	}
	_, _ = a.conn.WriteToUDP(msg, r.from)
}
