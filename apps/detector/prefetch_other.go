//go:build !amd64 && !arm64

package detector

import "unsafe"

func prefetch(unsafe.Pointer) {}
