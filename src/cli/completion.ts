import type { Command } from 'commander';

/** Commands and flags that may follow each command: `docker torrent` -> `pull seed --help`. */
function wordsByPath(command: Command, path: readonly string[] = []): Map<string, string[]> {
  const children = command.commands.map((child) => child.name());
  const flags = command.options.filter(({ hidden }) => !hidden).map(({ long }) => long ?? '');
  const words = [...children, ...flags, '--help'].filter((word) => word !== '');
  const found = new Map([[path.join(' '), [...new Set(words)]]]);
  for (const child of command.commands)
    for (const [key, value] of wordsByPath(child, [...path, child.name()])) found.set(key, value);
  return found;
}

/** A script for a shell, made of the same definitions as `--help`. */
export function completionScript(shell: 'bash' | 'zsh' | 'fish', program: Command): string {
  const paths = [...wordsByPath(program)];
  if (shell === 'fish') return fishScript(paths);
  const cases = paths.map(([path, words]) => `    '${path}') words='${words.join(' ')}' ;;`).join('\n');
  const script = `_quayctl() {
  local path='' word words='' at
  for ((at = 1; at < COMP_CWORD; at++)); do
    word=\${COMP_WORDS[at]}
    [[ $word == -* ]] && continue
    case " ${paths.map(([path]) => path.replaceAll(' ', '_')).join(' ')} " in
      *" \${path:+\${path// /_}_}$word "*) path="\${path:+$path }$word" ;;
    esac
  done
  case $path in
${cases}
  esac
  COMPREPLY=($(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}"))
  [[ \${#COMPREPLY[@]} -eq 0 ]] && compopt -o default 2>/dev/null
}
complete -F _quayctl quayctl
`;
  if (shell === 'bash') return `# bash completion of quayctl: source <(quayctl completion bash)\n${script}`;
  const load = 'autoload -Uz compinit bashcompinit && compinit && bashcompinit';
  return `#compdef quayctl\n# zsh completion of quayctl: source <(quayctl completion zsh)\n${load}\n${script}`;
}

function fishScript(paths: readonly (readonly [string, readonly string[]])[]): string {
  const lines = paths.map(([path, words]) => `    case '${path}'\n      printf '%s\\n' ${words.join(' ')}`);
  return `# fish completion of quayctl: quayctl completion fish | source
function __quayctl_words
  set -l path ''
  for word in (commandline -opc)[2..]
    string match -q -- '-*' $word; and continue
    set -l longer (string trim "$path $word")
    contains -- $longer ${paths.map(([path]) => `'${path}'`).join(' ')}; and set path $longer
  end
  switch $path
${lines.join('\n')}
  end
end
complete -c quayctl -f -n 'not string match -q -- "*/*" (commandline -ct)' -a '(__quayctl_words)'
`;
}
