. ./expect.sh
expect "kit.sh help" "commands:" "$(sh kit.sh help | cut -d ' ' -f 1)"
