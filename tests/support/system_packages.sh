#!/bin/sh
# Installs the Debian packages that tests use as independent judges, if they are missing. Without root or apt it says
# so and goes on: the tests that need them are then skipped, each with its reason.
set -u
wanted="${*:-}"
if [ -z "$wanted" ]; then
  command -v pdfsig >/dev/null || wanted="$wanted poppler-utils"
  command -v qpdf >/dev/null || wanted="$wanted qpdf"
  command -v openssl >/dev/null || wanted="$wanted openssl"
  command -v softhsm2-util >/dev/null || wanted="$wanted softhsm2"
  { command -v node && command -v npm; } >/dev/null || wanted="$wanted nodejs npm"
  command -v go >/dev/null || wanted="$wanted golang-go"
  [ -d /usr/share/gocode/src/golang.org/x/mod/sumdb/tlog ] || wanted="$wanted golang-golang-x-mod-dev"
  ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || wanted="$wanted postgresql"
  [ -e /usr/share/doc/fonts-ipamj-mincho ] || wanted="$wanted fonts-ipamj-mincho"
fi
[ -z "$wanted" ] && exit 0
if ! command -v apt-get >/dev/null; then
  echo "no apt-get here: not installed:$wanted (tests that need them are skipped with that reason)" >&2
  exit 0
fi
as_root=""
if [ "$(id -u)" != 0 ]; then
  if command -v sudo >/dev/null && sudo -n true 2>/dev/null; then as_root="sudo -n"; else
    echo "not root: not installed:$wanted (tests that need them are skipped with that reason)" >&2
    exit 0
  fi
fi
echo "installing$wanted" >&2
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get update -qq >/dev/null && $as_root apt-get install -y -qq $wanted >/dev/null || {
  echo "apt-get failed: not installed:$wanted (tests that need them are skipped with that reason)" >&2; exit 0; }
