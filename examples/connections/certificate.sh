#!/usr/bin/env bash
# Makes a certificate for app.localhost and db.localhost, signed by an authority of its own, and the Secret that holds it.
#
#   certificate.sh [DIRECTORY]   writes ca.crt and certificate.yaml there; default: the directory of this script
#
# Run it again while Postern runs: connections that are open go on, new ones get the new certificate.
set -euo pipefail

directory="${1:-$(cd "$(dirname "$0")" && pwd)}"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

# openssl talks while it works; it is heard only when something is wrong.
run() { "$@" >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }; }

run openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 \
	-subj "/CN=Example authority" -keyout "$work/ca.key" -out "$work/ca.crt"
run openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
	-subj "/CN=example" -keyout "$work/tls.key" -out "$work/tls.csr"
printf 'subjectAltName=DNS:app.localhost,DNS:db.localhost\nextendedKeyUsage=serverAuth\n' >"$work/extensions"
run openssl x509 -req -in "$work/tls.csr" -CA "$work/ca.crt" -CAkey "$work/ca.key" -CAcreateserial \
	-days 30 -extfile "$work/extensions" -out "$work/tls.crt"

{
	printf 'apiVersion: v1\nkind: Secret\nmetadata:\n  name: example\ntype: kubernetes.io/tls\nstringData:\n'
	for file in tls.crt tls.key; do
		printf '  %s: |\n' "$file"
		sed 's/^/    /' "$work/$file"
	done
} >"$work/certificate.yaml"

# Renamed into place, so that nobody reads one half of the pair.
umask 077
cp "$work/ca.crt" "$directory/.ca.crt.new" && mv "$directory/.ca.crt.new" "$directory/ca.crt"
cp "$work/certificate.yaml" "$directory/.certificate.new" && mv "$directory/.certificate.new" "$directory/certificate.yaml"
echo "wrote $directory/certificate.yaml and $directory/ca.crt"
