# Completion of auditstore for fish. The tool itself tells what may come next.

function __auditstore_complete
    set -l words (commandline -opc) (commandline -ct)
    for line in ($words[1] complete -- $words[2..-1] 2>/dev/null)
        if test "$line" = :files
            set -l parts (string match -r '^(--[^=]*=)(.*)' -- $words[-1])
            if test (count $parts) = 3
                printf '%s\n' $parts[2](__fish_complete_path $parts[3])
            else
                __fish_complete_path $words[-1]
            end
        else
            echo $line
        end
    end
end

complete -c auditstore -f -a '(__auditstore_complete)'
