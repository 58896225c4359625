//go:build tools

// Package tools makes `go mod tidy` keep what govulncheck needs; nothing compiles it.
package tools

import _ "golang.org/x/vuln/cmd/govulncheck"
