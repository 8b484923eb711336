#!/bin/sh
# Run once by the PostgreSQL image on an empty volume: one database and one role per service, and no
# service can so much as connect to another's.
set -eu

create() {
    psql --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres \
        --set name="$1" --set password="$2" <<'SQL'
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
REVOKE CONNECT, TEMPORARY ON DATABASE :"name" FROM PUBLIC;
SQL
}

create ticket "$TICKET_DATABASE_PASSWORD"
create regist "$REGIST_DATABASE_PASSWORD"
create gateway "$GATEWAY_DATABASE_PASSWORD"
