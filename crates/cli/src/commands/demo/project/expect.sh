# expect WHAT WANTED GOT
expect() {
    [ "$2" = "$3" ] && return
    echo "$1: expected $2, got $3"
    exit 1
}
