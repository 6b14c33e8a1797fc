# Completion of auditstore for bash. The tool itself tells what may come next.

# bash splits words at '=': "--outcome=F" comes as three. They are put together again, and only what is
# behind the '=' is replaced.
_auditstore() {
  local words=() word glue='' line
  for word in "${COMP_WORDS[@]:1:COMP_CWORD}"; do
    if [[ $word == '=' && ${#words[@]} -gt 0 ]]; then
      words[-1]+='='
      glue=1
    elif [[ -n $glue ]]; then
      words[-1]+=$word
      glue=''
    else
      words+=("$word")
    fi
  done
  local current=${COMP_WORDS[COMP_CWORD]} behind=''
  if [[ ${words[-1]} == --*=* && ${words[-1]} != "$current" ]]; then
    behind=${words[-1]%%=*}=
    [[ $current != '=' ]] || current=''
  fi
  COMPREPLY=()
  while IFS= read -r line; do
    if [[ $line == :files ]]; then
      compopt -o filenames 2>/dev/null
      while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -f -- "$current")
    else
      line=${line%%$'\t'*}
      COMPREPLY+=("${line#"$behind"}")
    fi
  done < <("${COMP_WORDS[0]}" complete -- "${words[@]}" 2>/dev/null)
}

complete -F _auditstore auditstore
