//go:build tools

// Package tools makes `go mod vendor` take MinIO along; nothing compiles it.
package tools

import _ "github.com/minio/minio"
