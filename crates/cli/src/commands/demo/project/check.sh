#!/bin/sh
# Runs every test; each says what is wrong and fails.
cd "$(dirname "$0")" || exit 1
failed=0
for test in tests/*.sh; do
    sh "$test" || { echo "FAILED $test"; failed=1; }
done
[ $failed -eq 0 ] && echo "all tests pass"
exit $failed
