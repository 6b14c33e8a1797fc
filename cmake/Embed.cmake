# What both scripts that embed files share.

# embed_by(<script> <target> <C file> <dependencies> <inputs>): <script> writes the C file, when one of
# the dependencies has changed, and the target has it among its sources.
function(embed_by script target output dependencies inputs)
  add_custom_command(
    OUTPUT ${output}
    COMMAND ${CMAKE_COMMAND} -DOUTPUT=${output} "-DINPUTS=${inputs}" -P ${script}
    DEPENDS ${dependencies} ${script} ${CMAKE_CURRENT_FUNCTION_LIST_FILE}
    COMMENT "embedding files in ${output}"
    VERBATIM)
  target_sources(${target} PRIVATE ${output})
endfunction()

# embed_bytes(<file> <variable>): the file's bytes as the inside of a C array, with a NUL behind them.
function(embed_bytes file ret_bytes)
  file(READ ${file} hex HEX)
  string(REGEX REPLACE "(..)" "0x\\1," bytes "${hex}")
  string(REGEX REPLACE "(................................................................................)"
                       "\\1\n" bytes "${bytes}")
  set(${ret_bytes} "${bytes}0x00" PARENT_SCOPE)
endfunction()
