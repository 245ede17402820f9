package config

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// file makes a name absolute: it is looked for next to the configuration.
func (k *checker) file(name *string) {
	if *name != "" && !filepath.IsAbs(*name) {
		*name = filepath.Join(k.dir, *name)
	}
}

// readable reads a file that need not be secret.
func (k *checker) readable(name string, at []string) ([]byte, bool) {
	data, err := readFile(name)
	if err != nil {
		k.fail(at, "check the path and who may read it", "file %s %v", name, err)
		return nil, false
	}
	return data, true
}

// readSecret reads a file that only mpbox may read.
func (k *checker) readSecret(name string, at []string) ([]byte, bool) {
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
		k.fail(at, "name a plain file", "file %s is a folder, pipe or device", name)
		return nil, false
	}
	data, ok := k.readable(name, at)
	if !ok {
		return nil, false
	}
	if info, err := os.Stat(name); err == nil && info.Mode().Perm()&0o007 != 0 {
		k.fail(at, "chmod 600 "+name, "file %s holds a secret, and everybody may read it (mode %04o)", name, info.Mode().Perm())
		return nil, false
	}
	return data, true
}

// secret takes a password from the file or from a file of its own; one of both.
func (k *checker) secret(value *Secret, file *string, minLen int, at ...any) {
	here := path(at...)
	inFile := path(at...)
	inFile[len(inFile)-1] += "_file"
	name, block := here[len(here)-1], here[:len(here)-1]
	switch {
	case *value != "" && *file != "":
		k.fail(inFile, "keep one of them", "%s and %s_file are both there", dotted(here), name)
	case *file != "":
		k.file(file)
		data, ok := k.readSecret(*file, inFile)
		if !ok {
			return
		}
		*value = Secret(strings.TrimRight(string(data), "\r\n"))
		if len(*value) < minLen {
			k.fail(inFile, fmt.Sprintf("write at least %d characters into it", minLen), "file %s: the password is too short", *file)
		}
	case *value != "":
		if k.inline == nil {
			k.inline = here
		}
	case !k.written(at...) && !k.written(toAny(inFile)...):
		k.fail(block, fmt.Sprintf("add %s_file: FILE, or %s", name, name), "%s is missing", dotted(here))
	}
}

// exposed warns of passwords in a configuration that everybody may read.
func (k *checker) exposed() {
	info, err := os.Stat(k.name)
	if k.inline == nil || err != nil || !info.Mode().IsRegular() || info.Mode().Perm()&0o007 == 0 {
		return
	}
	p := Problem{File: k.name, What: fmt.Sprintf("%s: everybody may read the password in this file (mode %04o)", dotted(k.inline), info.Mode().Perm()),
		Remedy: fmt.Sprintf("chmod 600 %s, or use %s_file", k.name, k.inline[len(k.inline)-1])}
	if _, v, ok := k.find(k.inline...); ok {
		p.Line, p.Column = v.Line, v.Column
	}
	k.c.Warnings = Problems{p}
}

func toAny(s []string) []any {
	out := make([]any, len(s))
	for i, x := range s {
		out[i] = x
	}
	return out
}

// listeners checks what other machines can reach.
func (k *checker) listeners() {
	of, api := &k.c.OpenFlow, &k.c.API
	used := k.unique("address")
	for i, e := range of.Listen {
		used.check(string(e), "openflow", "listen", i)
		if !e.Local() && e != "" && of.TLS == nil && !k.written("openflow", "tls") {
			k.fail(path("openflow", "listen", i), "add openflow.tls: {certificate: …, key: …, client_ca: …}, or listen on 127.0.0.1 or unix:/path",
				"openflow.listen: other machines reach %s, and there is no TLS: anybody could be a switch", e)
		}
	}
	if of.TLS != nil {
		k.tls(of.TLS, "openflow", "tls")
		if of.TLS.ClientCA == "" && slices.ContainsFunc(of.Listen, func(e Endpoint) bool { return !e.Local() }) {
			k.fail(path("openflow", "tls"), "add client_ca: the CA that signed the switches' certificates",
				"openflow.tls: client_ca is missing: anybody could be a switch")
		}
	}
	k.target()
	if api.TokensFile != "" {
		k.file(&api.TokensFile)
		api.Tokens = k.tokens(api.TokensFile, path("api", "tokens_file"))
	}
	if api.TLS != nil {
		k.tls(api.TLS, "api", "tls")
	}
	guarded := api.TokensFile != "" || api.TLS != nil && api.TLS.ClientCA != "" || k.written("api", "tokens_file")
	for i, e := range api.Listen {
		used.check(string(e), "api", "listen", i)
		if !e.Local() && e != "" && !guarded {
			k.fail(path("api", "listen", i), "add api.tokens_file or api.tls.client_ca, or listen on 127.0.0.1 or unix:/path",
				"api.listen: other machines reach %s, and neither tokens nor client certificates are asked for", e)
		}
	}
}

// target checks that bridges that are provisioned can find mpbox.
func (k *checker) target() {
	if len(k.c.OpenFlow.Listen) == 0 {
		return
	}
	at, e := path("openflow", "listen", 0), k.c.OpenFlow.Target()
	if k.written("openflow", "advertise") {
		at = path("openflow", "advertise")
	}
	for _, b := range k.c.Bridges {
		db := cmp.Or(b.OVSDB, k.c.OVSDB)
		if db != "" && (e.Any() || e.Local() && !db.Local()) {
			k.fail(at, "set openflow.advertise to an address of this machine that the switch reaches, like 192.0.2.10:6653",
				"bridge %s would be told to connect to %s, which its switch (ovsdb %s) cannot", b.Name, e, db)
			return
		}
	}
}

// tls checks that the files of a TLS server are there and belong together.
func (k *checker) tls(t *TLS, at ...any) {
	here := func(key string) []string { return path(append(slices.Clone(at), key)...) }
	k.file(&t.Certificate)
	k.file(&t.Key)
	k.file(&t.ClientCA)
	if t.Certificate != "" && t.Key != "" {
		cert, ok1 := k.readable(t.Certificate, here("certificate"))
		key, ok2 := k.readSecret(t.Key, here("key"))
		if ok1 && ok2 {
			if _, err := tls.X509KeyPair(cert, key); err != nil {
				k.fail(here("certificate"), "use a certificate chain and the key it was made with, both in PEM form",
					"%s: certificate and key do not fit: %v", dotted(path(at...)), err)
			}
		}
	}
	if t.ClientCA != "" {
		if data, ok := k.readable(t.ClientCA, here("client_ca")); ok && !x509.NewCertPool().AppendCertsFromPEM(data) {
			k.fail(here("client_ca"), "use a file with certificates in PEM form", "file %s holds no certificate", t.ClientCA)
		}
	}
}
