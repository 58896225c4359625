//go:build tools

// Package tools makes `go mod tidy` keep what the Pulumi CLI needs; nothing compiles it.
package tools

import _ "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"
