package api

import (
	"embed"
	"io/fs"
	"net/http"
)

// The page is plain HTML, CSS and JavaScript: nothing is built, nothing is loaded
// from elsewhere.
//
//go:embed web
var web embed.FS

func page(name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeFileFS(w, r, web, "web/"+name)
	})
}

func pageFiles() http.Handler {
	sub, err := fs.Sub(web, "web")
	if err != nil {
		panic(err) // the folder is compiled in
	}
	return http.FileServerFS(sub)
}
