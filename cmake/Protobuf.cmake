# C code from proto/: once for clients, once for the server.
#
# protobuf-c cuts a string at an embedded NUL and doesn't check UTF-8, so the server's code is made
# from copies in which every string field is a bytes field (the same on the wire), and the server
# checks texts itself. Users' .proto files stay free of protobuf-c's options.

find_program(PROTOC protoc REQUIRED)
find_program(PROTOC_GEN_C protoc-gen-c REQUIRED)
find_path(PROTOBUF_INCLUDE google/protobuf/timestamp.proto REQUIRED)

set(PROTO_DIR ${CMAKE_CURRENT_SOURCE_DIR}/proto)
set(GEN_DIR ${CMAKE_CURRENT_BINARY_DIR}/gen)

set(PROTO_FILES
    auditstore/v1/event.proto
    auditstore/v1/ledger.proto
    auditstore/v1/audit_store.proto
    auditstore/v1/admin.proto
    google/rpc/status.proto
    google/rpc/error_details.proto
    grpc/health/v1/health.proto)
# Of the server alone.
set(PROTO_SERVER_FILES grpc/reflection/v1/reflection.proto)
set(PROTO_SERVER_SERVICES grpc/reflection/v1/reflection.proto)
# Not shipped compiled by protobuf-c, so they are compiled here.
set(PROTO_WELL_KNOWN google/protobuf/any.proto google/protobuf/duration.proto
                     google/protobuf/timestamp.proto)
set(PROTO_SERVICES auditstore/v1/audit_store.proto auditstore/v1/admin.proto
                   grpc/health/v1/health.proto)

# protobuf_c_library(<target> STATIC|OBJECT <out-dir> <proto-dir>...): a library of messages.
function(protobuf_c_library target type out)
  set(sources "")
  set(headers "")
  foreach(file ${PROTO_FILES} ${PROTO_WELL_KNOWN})
    string(REGEX REPLACE "\\.proto$" "" stem ${file})
    list(APPEND sources ${out}/${stem}.pb-c.c)
    list(APPEND headers ${out}/${stem}.pb-c.h)
  endforeach()
  set(includes "")
  foreach(dir ${ARGN})
    list(APPEND includes -I${dir})
  endforeach()
  add_custom_command(
    OUTPUT ${sources} ${headers}
    COMMAND ${CMAKE_COMMAND} -E make_directory ${out}
    COMMAND ${PROTOC} --plugin=protoc-gen-c=${PROTOC_GEN_C} ${includes} --c_out=${out} ${PROTO_FILES}
            ${PROTO_WELL_KNOWN}
    DEPENDS ${PROTO_DEPENDS}
    COMMENT "protobuf-c: ${target}"
    VERBATIM)
  add_custom_target(${target}_files DEPENDS ${sources} ${headers})
  add_library(${target} ${type} ${sources})
  add_dependencies(${target} ${target}_files)
  target_include_directories(${target} SYSTEM PUBLIC ${out})
  target_link_libraries(${target} PUBLIC PkgConfig::PROTOBUF_C PRIVATE build_base)
endfunction()

# Clients: the files as they are.
set(PROTO_DEPENDS "")
foreach(file ${PROTO_FILES})
  list(APPEND PROTO_DEPENDS ${PROTO_DIR}/${file})
endforeach()
# Objects, so that the client library holds every message, used inside it or not.
protobuf_c_library(proto_client OBJECT ${GEN_DIR}/client ${PROTO_DIR} ${PROTOBUF_INCLUDE})
# Users of the shared library pack and free messages themselves.
set_target_properties(proto_client PROPERTIES C_VISIBILITY_PRESET default)

# Server: string fields as bytes.
if(AUDITSTORE_BUILD_DAEMON OR NOT DEFINED AUDITSTORE_BUILD_DAEMON)
  list(APPEND PROTO_FILES ${PROTO_SERVER_FILES})
  set(copies "")
  foreach(file ${PROTO_FILES} ${PROTO_WELL_KNOWN})
    if(file IN_LIST PROTO_FILES)
      set(source ${PROTO_DIR}/${file})
    else()
      set(source ${PROTOBUF_INCLUDE}/${file})
    endif()
    set(copy ${GEN_DIR}/server/proto/${file})
    get_filename_component(dir ${copy} DIRECTORY)
    file(MAKE_DIRECTORY ${dir})
    add_custom_command(
      OUTPUT ${copy}
      COMMAND sed -E "s/^( *(repeated )?)string /\\1bytes /" ${source} > ${copy}
      DEPENDS ${source}
      VERBATIM)
    list(APPEND copies ${copy})
  endforeach()
  set(PROTO_DEPENDS ${copies})
  protobuf_c_library(proto_server STATIC ${GEN_DIR}/server ${GEN_DIR}/server/proto)
endif()
