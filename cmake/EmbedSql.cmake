# Numbered SQL files (0001_name.sql) as one C file that defines ledger/migrations.h.
#
# embed_sql(<target> <C file> <SQL file>...) adds it to a target. The same file is the script that
# writes it: a change of an SQL file is seen by the build, not by a new configure run.

include(${CMAKE_CURRENT_LIST_DIR}/Embed.cmake)

function(embed_sql target output)
  embed_by(${CMAKE_CURRENT_FUNCTION_LIST_FILE} ${target} ${output} "${ARGN}" "${ARGN}")
endfunction()

if(CMAKE_SCRIPT_MODE_FILE)
  set(texts "")
  set(rows "")
  set(number 0)
  foreach(input ${INPUTS})
    get_filename_component(stem ${input} NAME_WE)
    if(NOT stem MATCHES "^([0-9][0-9][0-9][0-9])_([a-z0-9_]+)$")
      message(FATAL_ERROR "${input}: a migration is named 0001_name.sql")
    endif()
    set(name ${CMAKE_MATCH_2})
    math(EXPR number "${number} + 1")
    math(EXPR stated "1${CMAKE_MATCH_1} - 10000")
    if(NOT stated EQUAL number)
      message(FATAL_ERROR "${input}: migration ${number} is missing")
    endif()
    embed_bytes(${input} bytes)
    string(APPEND texts "static const unsigned char sql_${number}[] = {\n${bytes}};\n")
    string(APPEND rows "    {${number}, \"${name}\", (const char *)sql_${number},\n     sizeof(sql_${number}) - 1},\n")
  endforeach()
  file(WRITE ${OUTPUT}
       "#include \"ledger/migrations.h\"\n\n${texts}\nconst struct migration migrations[] = {\n${rows}};\n"
       "const int migration_count = ${number};\n")
endif()
