#!/bin/sh
# Makes the secrets of docker-compose.yml, once: random ones, in a folder that only its owner enters. Containers run as
# other users and read the files themselves, mounted one by one; no variable, layer or command line holds one.
set -eu
folder=$(dirname "$0")/secrets
mkdir -p "$folder" && chmod 0700 "$folder"
made() { head -c 24 /dev/urandom | od -An -v -tx1 | tr -d ' \n'; }
put() { [ -s "$folder/$1" ] || { printf '%s\n' "$2" > "$folder/$1" && chmod 0444 "$folder/$1"; }; }
put database_password "$(made)"
put database_url "postgresql://godwit:$(cat "$folder/database_password")@postgres/godwit"
put broker_password "$(made)"
put broker_url "redis://:$(cat "$folder/broker_password")@redis:6379/0"
put credentials_key "$(head -c 32 /dev/urandom | base64 | tr '+/' '-_')"
put token "gw_$(made)"
echo "the secrets lie in $folder; the first token is in $folder/token"
