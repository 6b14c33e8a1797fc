# The shells' completion scripts as one C file that defines scripts.h.
#
# embed_scripts(<target> <C file> <SHELL=file>...) adds it to a target. The same file is the script
# that writes it.

include(${CMAKE_CURRENT_LIST_DIR}/Embed.cmake)

function(embed_scripts target output)
  set(files ${ARGN})
  list(TRANSFORM files REPLACE "^[a-z]+=" "")
  embed_by(${CMAKE_CURRENT_FUNCTION_LIST_FILE} ${target} ${output} "${files}" "${ARGN}")
endfunction()

if(CMAKE_SCRIPT_MODE_FILE)
  set(texts "")
  set(rows "")
  foreach(input ${INPUTS})
    string(REGEX MATCH "^([a-z]+)=(.*)$" matched ${input})
    set(shell ${CMAKE_MATCH_1})
    embed_bytes(${CMAKE_MATCH_2} bytes)
    string(APPEND texts "static const unsigned char ${shell}_script[] = {\n${bytes}};\n")
    string(APPEND rows "    {\"${shell}\", (const char *)${shell}_script},\n")
  endforeach()
  file(WRITE ${OUTPUT}
       "#include \"scripts.h\"\n\n${texts}\nconst struct completion_script completion_scripts[] = {\n${rows}};\n"
       "const size_t completion_script_count =\n    sizeof(completion_scripts) / sizeof(completion_scripts[0]);\n")
endif()
