# Programs whose runtimes bring threads of their own: Go's (gron, age, fzf) and Rust's (ripgrep, fd, hyperfine).
#packages: gron,age,fzf,ripgrep,fd-find,hyperfine,dash
#shell: /usr/bin/dash
#limit: 60
#: go-gron
printf '{"a":[1,2,{"b":null,"c":"x y"}],"d":true}' >in; gron in; gron in | gron --ungron --no-sort; echo 'not json' | gron 2>&1 | head -1; echo '{"k":[1,2]}' | gron -s
#: go-age
age-keygen -o key 2>/dev/null; echo $?; seq 20000 >plain; age -r "$(sed -n 's/.*public key: //p' key)" -o secret plain; echo $?; age -d -i key secret | cmp - plain; echo $?
age-keygen -o other 2>/dev/null; age -d -i other secret 2>&1 >/dev/null | head -1; tail -c 100 secret | age -d -i key 2>&1 | head -1 | cut -d: -f1-4
#: go-fzf
seq 20000 | fzf -f 1999 | sort -n | tail -4; seq 20000 | fzf -e -f '^77 | ^1999$' | wc -l; for procs in 1 2 8; do seq 20000 | GOMAXPROCS=$procs GOGC=5 fzf -f 123 | sort -n | md5sum; done; seq 10 | fzf -f nothing; echo $?
#: go-many-at-once
for i in 1 2 3 4 5 6 7 8; do (seq 3000 | GOGC=2 fzf -e -f ${i}9 | wc -l) & done | sort -n; wait
#: rust-ripgrep
mkdir -p t/a t/b; for i in 1 2 3 4 5 6 7 8; do seq $((i * 500)) >t/a/$i; seq $((i * 700)) >t/b/$i; done
rg -c --sort path 99 t; rg -j 8 --files-with-matches '^5000$' t | sort; rg -j 4 -o '4[0-9]{3}$' t | sort | md5sum; rg nothing t; echo $?; rg --stats -q 7 t | grep -e matches -e searched | sort
#: rust-fd
mkdir -p t/x/y; touch t/a.txt t/x/b.txt t/x/y/c.md t/.hidden.txt; fdfind -e txt . t | sort; fdfind -H -t f . t | sort; fdfind -j 8 -e txt . t -x echo got | sort; fdfind -j 2 -t d . t -X echo | tr ' ' '\n' | sort
#: rust-hyperfine
hyperfine -N --warmup 1 --runs 5 --export-json out.json 'true' >out 2>&1; echo $?; grep -c 'Range' out; grep -c exit_codes out.json; hyperfine --runs 2 'exit 3' >out 2>&1; echo $?; hyperfine -i --runs 2 'exit 3' >out 2>&1; echo $?
