#!/bin/sh
# Makes a CA, and certificates of the proxy and of the server, both for api.example, in certificates/.
set -eu
cd "$(dirname "$0")"
mkdir -p certificates
cd certificates

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 \
    -subj "/CN=example CA" -keyout ca.key -out ca.pem 2>/dev/null
printf 'subjectAltName=DNS:api.example\n' > names
for name in api server; do
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
        -subj "/CN=$name" -keyout "$name.key" -out "$name.csr" 2>/dev/null
    openssl x509 -req -in "$name.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days 365 \
        -extfile names -out "$name.pem" 2>/dev/null
done
rm -f names ./*.csr
