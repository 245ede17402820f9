// Package config turns a YAML file into a checked, immutable value.
//
// The structs here are the one place where a key is named and described: the JSON
// schema, the check of a file, the defaults, the dump and docs/configuration.md
// all come from them. Every error of a file is reported, each with its place
// (file:line:col), what is wrong and what to do. Nothing here opens a session or
// starts anything; password files are read, and so are the lists that a key names.
package config
