package xrcli

import "github.com/gliderlabs/ssh"

func (s *Server) session(sess ssh.Session) {}
