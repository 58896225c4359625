//go:build tools

// Package tools makes `go mod tidy` keep what syft needs; nothing compiles it.
package tools

import _ "github.com/anchore/syft/cmd/syft"
