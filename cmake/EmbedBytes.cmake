# embed_bytes(<file> <variable>): the file's bytes as the inside of a C array, with a NUL behind them.
function(embed_bytes file ret_bytes)
  file(READ ${file} hex HEX)
  string(REGEX REPLACE "(..)" "0x\\1," bytes "${hex}")
  string(REGEX REPLACE "(................................................................................)"
                       "\\1\n" bytes "${bytes}")
  set(${ret_bytes} "${bytes}0x00" PARENT_SCOPE)
endfunction()
