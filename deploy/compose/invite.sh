#!/bin/sh
# Invites the workers of this compose project.
set -eu

umask 077
kapelle workers invite --nats nats://nats:4222 --uses 1000 --for 30d --quiet > /invitation/token.new
mv /invitation/token.new /invitation/token
