# What this project changes in MinIO, and all of it: cmd/auth-handler.go, for CVE-2026-41145 and CVE-2026-40344.
#
# An upload in chunks with an unsigned trailer is a request of a kind of its own to MinIO, and two ways of handling that kind
# check no signature: one for a request that is signed in its query, one for a request that unpacks an archive. Neither is of that
# kind any more: each falls to the kind of its signature, which is checked.
/^func isRequestUnsignedTrailerV4(/,/^}/s/^\(\t*\)r\.Method == http\.MethodPut$/\1r.Method == http.MethodPut \&\&\n\1strings.HasPrefix(r.Header.Get(xhttp.Authorization), signV4Algorithm) \&\&\n\1r.Header.Get(xhttp.AmzSnowballExtract) == ""/
