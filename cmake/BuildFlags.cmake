# Warnings, sanitizers and hardening, as one interface target that every target of ours links PRIVATE.
# Generated code links build_base alone: our warnings aren't its business.

set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON)
# A global named like a function of a linked library would replace it there: hide ours.
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()

set(SANITIZE "" CACHE STRING "Sanitizers, such as address,undefined or thread")
option(COVERAGE "Instrument for gcov" OFF)

add_library(build_base INTERFACE)
# Assertions stay on in every build: they cost little and stop a bug from becoming a lie.
target_compile_options(build_base INTERFACE -UNDEBUG -D_GNU_SOURCE -fno-omit-frame-pointer)
# What costs more than an assertion may is checked in debug builds alone.
target_compile_definitions(build_base INTERFACE $<$<CONFIG:Debug>:AUDITSTORE_DEBUG>)
# A plain if: commas break generator expressions.
if(SANITIZE)
  target_compile_options(build_base INTERFACE -fsanitize=${SANITIZE} -fno-sanitize-recover=all)
  target_link_options(build_base INTERFACE -fsanitize=${SANITIZE})
else()
  target_compile_options(build_base INTERFACE -fstack-protector-strong)
  if(CMAKE_BUILD_TYPE MATCHES "Rel")
    target_compile_definitions(build_base INTERFACE _FORTIFY_SOURCE=2)
  endif()
  target_link_options(build_base INTERFACE -Wl,-z,relro,-z,now)
endif()
# Every object tells libFuzzer where it has been; the fuzz targets bring its main().
if(FUZZ)
  target_compile_options(build_base INTERFACE -fsanitize=fuzzer-no-link)
  target_link_options(build_base INTERFACE -fsanitize=fuzzer-no-link)
endif()
if(COVERAGE)
  target_compile_options(build_base INTERFACE --coverage -O0)
  target_link_options(build_base INTERFACE --coverage)
endif()

add_library(build_flags INTERFACE)
target_link_libraries(build_flags INTERFACE build_base)
target_compile_options(build_flags INTERFACE -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes
                                             -Wmissing-prototypes -Wformat=2 -Wundef -Wvla)
