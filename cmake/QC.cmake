# All of qc's CMake cleverness. Leaves say nouns: qc_add_host_library,
# qc_add_mlir_library, qc_add_pass_library, qc_add_quantizer, qc_add_tool,
# qc_add_unittest.

option(QC_SANITIZE "Build with AddressSanitizer and UndefinedBehaviorSanitizer" OFF)
add_compile_options(-Wall -Wextra -Wno-unused-parameter)
if(QC_SANITIZE)
  add_compile_options(-fsanitize=address,undefined -fno-omit-frame-pointer)
  add_link_options(-fsanitize=address,undefined)
endif()

# MLIR is built without RTTI; whoever derives from its classes must be too.
function(_qc_no_rtti target)
  target_compile_options(${target} PRIVATE -fno-rtti -Wno-deprecated-declarations)
endfunction()

# qc_add_host_library(NAME sources... [LINK libs...]): no LLVM, no MLIR; may be
# linked into the user's executable, hence sections that the linker can drop.
function(qc_add_host_library name)
  cmake_parse_arguments(ARG "" "" "LINK" ${ARGN})
  add_library(${name} STATIC ${ARG_UNPARSED_ARGUMENTS})
  target_compile_options(${name} PRIVATE -ffunction-sections -fdata-sections)
  target_link_libraries(${name} PUBLIC ${ARG_LINK})
  set_property(GLOBAL APPEND PROPERTY QC_HOST_LIBS ${name})
endfunction()

# qc_add_mlir_library(NAME sources... [LINK libs...] [DEPENDS targets...])
function(qc_add_mlir_library name)
  cmake_parse_arguments(ARG "" "" "LINK;DEPENDS" ${ARGN})
  add_library(${name} STATIC ${ARG_UNPARSED_ARGUMENTS})
  _qc_no_rtti(${name})
  add_dependencies(${name} qc-headers)
  if(ARG_DEPENDS)
    add_dependencies(${name} ${ARG_DEPENDS})
  endif()
  target_link_libraries(${name} PUBLIC ${ARG_LINK} MLIR LLVM)
endfunction()

# qc_add_pass_library(NAME sources... [LINK libs...]): Passes.td beside the
# sources; generates Passes.h.inc in the same folder of the build's include/qc
# tree (header include/qc/<folder>/Passes.h includes it) and docs/<NAME>.md.
function(qc_add_pass_library name)
  cmake_parse_arguments(ARG "" "TD;GROUP" "LINK" ${ARGN})
  set(LLVM_TARGET_DEFINITIONS ${ARG_TD})
  file(RELATIVE_PATH rel ${CMAKE_SOURCE_DIR}/lib ${CMAKE_CURRENT_SOURCE_DIR})
  set(out ${CMAKE_BINARY_DIR}/include/qc/${rel})
  file(MAKE_DIRECTORY ${out})
  file(RELATIVE_PATH tgout ${CMAKE_CURRENT_BINARY_DIR} ${out})
  mlir_tablegen(${tgout}/Passes.h.inc -gen-pass-decls -name ${ARG_GROUP})
  add_public_tablegen_target(${name}PassesIncGen)
  qc_add_doc(${ARG_TD} ${name}Passes -gen-pass-doc)
  qc_add_mlir_library(${name} ${ARG_UNPARSED_ARGUMENTS} LINK ${ARG_LINK}
                      DEPENDS ${name}PassesIncGen)
endfunction()

# qc_add_doc(td name generator args...): build/docs/<name>.md, target qc-doc.
if(NOT TARGET qc-doc)
  add_custom_target(qc-doc ALL)
endif()
function(qc_add_doc td name)
  set(LLVM_TARGET_DEFINITIONS ${td})
  file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/docs)
  file(RELATIVE_PATH rel ${CMAKE_CURRENT_BINARY_DIR} ${CMAKE_BINARY_DIR}/docs)
  tablegen(MLIR ${rel}/${name}.md ${ARGN} -I ${CMAKE_SOURCE_DIR}/include)
  add_custom_target(${name}DocGen DEPENDS ${CMAKE_CURRENT_BINARY_DIR}/${rel}/${name}.md)
  add_dependencies(qc-doc ${name}DocGen)
endfunction()

# qc_add_tool(NAME sources... [LINK libs...])
function(qc_add_tool name)
  cmake_parse_arguments(ARG "" "" "LINK" ${ARGN})
  add_executable(${name} ${ARG_UNPARSED_ARGUMENTS})
  _qc_no_rtti(${name})
  add_dependencies(${name} qc-headers)
  target_link_libraries(${name} PRIVATE ${ARG_LINK} MLIR LLVM)
  # Plugins resolve qc's symbols in the tool that loads them.
  set_target_properties(${name} PROPERTIES ENABLE_EXPORTS ON)
  set_property(GLOBAL APPEND PROPERTY QC_TOOLS ${name})
endfunction()

# qc_add_unittest(NAME sources... [LINK libs...] [MLIR]): GoogleTest, run by
# ctest and listed for check-qc.
function(qc_add_unittest name)
  cmake_parse_arguments(ARG "MLIR" "" "LINK" ${ARGN})
  find_package(GTest REQUIRED)
  add_executable(${name} ${ARG_UNPARSED_ARGUMENTS})
  target_link_libraries(${name} PRIVATE ${ARG_LINK} GTest::gtest GTest::gtest_main)
  target_compile_definitions(${name} PRIVATE
    QC_SOURCE_DIR="${CMAKE_SOURCE_DIR}" QC_BINARY_DIR="${CMAKE_BINARY_DIR}")
  if(ARG_MLIR)
    _qc_no_rtti(${name})
    add_dependencies(${name} qc-headers)
    target_link_libraries(${name} PRIVATE MLIR LLVM)
  endif()
  set_target_properties(${name} PROPERTIES
    RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/unittests)
  add_test(NAME ${name} COMMAND ${name})
  set_property(GLOBAL APPEND PROPERTY QC_UNITTESTS ${name})
endfunction()

# qc_add_quantizer(NAME): NAME.td and NAME.cpp in a folder of
# lib/Quantization/Methods; the pass qc-quantize-<name>, its documentation and
# its registration follow from the name (lib/Quantization/CMakeLists.txt).
function(qc_add_quantizer name)
  set(td ${CMAKE_CURRENT_SOURCE_DIR}/${name}.td)
  set(out ${CMAKE_BINARY_DIR}/include/qc/Quantization/Methods)
  file(MAKE_DIRECTORY ${out})
  file(RELATIVE_PATH rel ${CMAKE_CURRENT_BINARY_DIR} ${out})
  set(LLVM_TARGET_DEFINITIONS ${td})
  mlir_tablegen(${rel}/${name}.h.inc -gen-pass-decls -name ${name}
                -I ${CMAKE_SOURCE_DIR}/include)
  add_public_tablegen_target(QC${name}PassIncGen)
  qc_add_doc(${td} Quantize${name} -gen-pass-doc)
  set_property(GLOBAL APPEND PROPERTY QC_QUANTIZERS ${name})
  set_property(GLOBAL APPEND PROPERTY QC_QUANTIZER_SOURCES
               ${CMAKE_CURRENT_SOURCE_DIR}/${name}.cpp)
endfunction()
