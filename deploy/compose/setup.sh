#!/bin/sh
# Makes the sample project and the configuration of nats-server. Run again, it changes nothing that
# is there, but for the configuration, which it makes anew: the same text, unless settings changed.
set -eu

cd /project
if [ ! -d .git ]; then
    cp -R /sample/. .
    git init --quiet --initial-branch=main
    git add --all
    git -c user.name=Kapelle -c user.email=kapelle@localhost commit --quiet --message "A sample"
fi
kapelle nats config --listen 0.0.0.0:4222 --monitor 127.0.0.1:8222 --store /data \
    --out /config/nats-server.conf
