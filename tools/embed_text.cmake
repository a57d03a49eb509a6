# Writes FILE into the C source OUT as the bytes NAME[] and their number NAME_N, with VERSION in the place of
# @PGR_VERSION@.
file(READ ${FILE} hex HEX)
string(HEX "@PGR_VERSION@" mark)
string(HEX "${VERSION}" version)
string(REPLACE "${mark}" "${version}" hex "${hex}")
string(LENGTH "${hex}" n)
math(EXPR n "${n} / 2")
string(REGEX REPLACE "(..)" "0x\\1," bytes "${hex}")
string(REPEAT "0x..," 16 row)
string(REGEX REPLACE "(${row})" "\\1\n    " bytes "${bytes}")
file(WRITE ${OUT} "/* made by tools/embed_text.cmake from ${FILE} */
#include <stddef.h>

extern const unsigned char ${NAME}[];
extern const size_t ${NAME}_N;
const unsigned char ${NAME}[] = {
    ${bytes}0};
const size_t ${NAME}_N = ${n};
")
