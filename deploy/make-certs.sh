#!/bin/sh
# Development certificates: an authority of your own and one server certificate for this host.
#   make-certs.sh FOLDER [NAME_OR_ADDRESS ...]
# Not for production: the authority's key lies beside them.
set -eu
folder=${1:?usage: make-certs.sh FOLDER [NAME_OR_ADDRESS ...]}
shift
command -v openssl >/dev/null || { echo "make-certs: openssl is needed" >&2; exit 1; }
umask 077
mkdir -p "$folder"
cd "$folder"

names="DNS:localhost,DNS:$(hostname),IP:127.0.0.1"
for name in "$@"; do
  case $name in
    *[!0-9.:a-fA-F]*) names="$names,DNS:$name" ;;
    *[.:]*) names="$names,IP:$name" ;;
    *) names="$names,DNS:$name" ;;
  esac
done

if [ ! -f ca.key ]; then
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 825 \
    -keyout ca.key -out ca.pem -subj "/CN=Boraflow development authority" 2>/dev/null
fi
openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
  -keyout server.key -out server.csr -subj "/CN=$(hostname)" 2>/dev/null
extensions=$(mktemp)
printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth,clientAuth\n' "$names" > "$extensions"
openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 365 \
  -extfile "$extensions" -out server.pem 2>/dev/null
rm -f server.csr "$extensions"
chmod 644 ca.pem server.pem

echo "Certificates for $names are in $folder. To use them:"
echo "  export BORAFLOW_TLS_CA=$folder/ca.pem"
echo "  export BORAFLOW_TLS_CERT=$folder/server.pem"
echo "  export BORAFLOW_TLS_KEY=$folder/server.key"
