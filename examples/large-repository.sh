#!/bin/sh
# Makes a bare repository of many small files and many small commits, to measure `holdfast backtest` and a first cycle with:
#
#     examples/large-repository.sh /tmp/large.git [FILES] [COMMITS]
#     holdfast backtest --repo /tmp/large.git --path apps
#
# 10,000 files in 100 directories and 1,000 commits, an hour apart, are the default. Each commit changes three files of one
# directory; every tenth adds one, and every hundredth takes a fifth of a directory away.
set -eu
repo=${1:?usage: $0 REPOSITORY [FILES] [COMMITS]}
files=${2:-10000}
commits=${3:-1000}

git init -q --bare -b main "$repo"
awk -v files="$files" -v commits="$commits" '
function data(text) { printf "data %d\n%s\n", length(text), text }
function content(file, version) {
    return "name: app-" file "\nimage: registry.example.com/app-" file ":1." version "\nreplicas: " (file % 5 + 1) "\nowner: team-" (file % 17)
}
function path(file) { return sprintf("apps/d%03d/app-%05d.yaml", file % 100, file) }
function commit(n, subject) {
    printf "commit refs/heads/main\ncommitter Dev %d <dev%d@example.com> %d +0000\n", n % 12, n % 12, 1700000000 + n * 3600
    data(subject)
}
BEGIN {
    commit(0, "All files")
    for (file = 0; file < files; file++) { print "M 100644 inline " path(file); data(content(file, 0)) }
    for (n = 1; n < commits; n++) {
        commit(n, "Change " n)
        directory = (n * 37) % 100
        for (k = 0; k < 3; k++) {
            file = ((n * 7 + k * 13) % int(files / 100)) * 100 + directory
            print "M 100644 inline " path(file); data(content(file, n))
        }
        if (n % 10 == 0) { print "M 100644 inline " path(files + n); data(content(files + n, n)) }
        if (n % 100 == 0)
            for (k = 0; k < files / 500; k++) print "D " path(k * 100 + (directory + 1) % 100)
    }
}' | git --git-dir="$repo" fast-import --quiet
git --git-dir="$repo" repack -adq
