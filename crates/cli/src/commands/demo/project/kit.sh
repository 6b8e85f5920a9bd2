#!/bin/sh
# A small toolbox: sh kit.sh COMMAND ARGUMENT...
commands="help"

command=${1:-help}
[ $# -eq 0 ] || shift
case " $commands " in
*" $command "*) . "$(dirname "$0")/commands/$command.sh" ;;
*)
    echo "kit: there is no '$command', only: $commands" >&2
    exit 2
    ;;
esac
