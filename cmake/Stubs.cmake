# Stubs, handlers and descriptor sets of our services, made by our own plugin of protoc.

add_subdirectory(${CMAKE_CURRENT_SOURCE_DIR}/clients/c/stubgen)

# auditstore_generate(<out-var> WHAT client|server|descriptor OUT <dir> INCLUDES <dir>... PROTOS <file>...)
# Adds the command that makes X.stub.[ch], X.service.[ch] or X.descriptor.[ch] in <dir> for each
# X.proto, which is found in the first of the folders to include; lists the files in <out-var>.
set(AUDITSTORE_SUFFIX_client stub)
set(AUDITSTORE_SUFFIX_server service)
set(AUDITSTORE_SUFFIX_descriptor descriptor)
function(auditstore_generate out_var)
  cmake_parse_arguments(arg "" "WHAT;OUT" "INCLUDES;PROTOS" ${ARGN})
  set(suffix ${AUDITSTORE_SUFFIX_${arg_WHAT}})
  set(includes "")
  foreach(dir ${arg_INCLUDES})
    list(APPEND includes -I${dir})
  endforeach()
  set(outputs "")
  set(inputs "")
  list(GET arg_INCLUDES 0 proto_dir)
  foreach(proto ${arg_PROTOS})
    string(REGEX REPLACE "\\.proto$" "" stem ${proto})
    list(APPEND outputs ${arg_OUT}/${stem}.${suffix}.c ${arg_OUT}/${stem}.${suffix}.h)
    list(APPEND inputs ${proto_dir}/${proto})
  endforeach()
  # What they import counts as well.
  file(GLOB_RECURSE imports CONFIGURE_DEPENDS ${proto_dir}/*.proto)
  add_custom_command(
    OUTPUT ${outputs}
    COMMAND ${CMAKE_COMMAND} -E make_directory ${arg_OUT}
    COMMAND ${PROTOC} --plugin=protoc-gen-auditstore-c=$<TARGET_FILE:protoc-gen-auditstore-c>
            ${includes} --auditstore-c_out=${arg_OUT} --auditstore-c_opt=${arg_WHAT} ${arg_PROTOS}
    DEPENDS protoc-gen-auditstore-c ${inputs} ${imports}
    COMMENT "auditstore-c: ${suffix} files in ${arg_OUT}"
    VERBATIM)
  set(${out_var} ${outputs} PARENT_SCOPE)
endfunction()

set(stub_includes ${PROTO_DIR} ${PROTOBUF_INCLUDE})

auditstore_generate(client_stub_files WHAT client OUT ${GEN_DIR}/client
                    INCLUDES ${stub_includes} PROTOS ${PROTO_SERVICES})
auditstore_generate(client_descriptor_files WHAT descriptor OUT ${GEN_DIR}/client
                    INCLUDES ${stub_includes} PROTOS ${PROTO_SERVICES})
# Objects, so that a shared library made of them holds every stub, used inside it or not.
add_library(client_stubs OBJECT ${client_stub_files} ${client_descriptor_files})
target_include_directories(client_stubs SYSTEM PUBLIC ${GEN_DIR}/client)
target_include_directories(client_stubs PUBLIC ${CMAKE_CURRENT_SOURCE_DIR}/include)
target_link_libraries(client_stubs PUBLIC proto_client PRIVATE build_base)

if(AUDITSTORE_BUILD_DAEMON OR NOT DEFINED AUDITSTORE_BUILD_DAEMON)
  # The services are those of the original files; only their messages differ on the server.
  # Objects, which end up inside part_grpc: each needs the other, so two archives would not do.
  auditstore_generate(server_service_files WHAT server OUT ${GEN_DIR}/server
                      INCLUDES ${stub_includes} PROTOS ${PROTO_SERVICES} ${PROTO_SERVER_SERVICES})
  add_library(grpc_server_stubs OBJECT ${server_service_files})
  target_include_directories(grpc_server_stubs SYSTEM PUBLIC ${GEN_DIR}/server)
  target_include_directories(grpc_server_stubs PUBLIC ${CMAKE_CURRENT_SOURCE_DIR}/src)
  target_link_libraries(grpc_server_stubs PUBLIC proto_server PkgConfig::UV PRIVATE build_base)
  # What reflection tells of them; v1alpha is v1 under another name and has no code of its own. The
  # details of an error name their types, which a client then asks for.
  auditstore_generate(server_descriptor_files WHAT descriptor OUT ${GEN_DIR}/server
                      INCLUDES ${stub_includes} PROTOS ${PROTO_SERVICES} ${PROTO_SERVER_SERVICES}
                               grpc/reflection/v1alpha/reflection.proto
                               google/rpc/status.proto google/rpc/error_details.proto)
  add_library(server_descriptors STATIC ${server_descriptor_files})
  target_include_directories(server_descriptors SYSTEM PUBLIC ${GEN_DIR}/server)
  target_include_directories(server_descriptors PUBLIC ${CMAKE_CURRENT_SOURCE_DIR}/include)
  target_link_libraries(server_descriptors PRIVATE build_base)
endif()
