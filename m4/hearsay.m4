dnl HEARSAY_LIB(VARIABLE, MODULE, DEBIAN-PACKAGE)
dnl Look for a library by pkg-config.  A missing one is noted, not fatal, so
dnl that all that are missing can be told at once (HEARSAY_MISSING).
AC_DEFUN([HEARSAY_LIB], [
PKG_CHECK_MODULES([$1], [$2], [],
    [hearsay_missing="$hearsay_missing
  $2: apt-get install $3"
    hearsay_packages="$hearsay_packages $3"])
])

dnl HEARSAY_HEADER(HEADER, DEBIAN-PACKAGE)
AC_DEFUN([HEARSAY_HEADER], [
AC_CHECK_HEADER([$1], [],
    [hearsay_missing="$hearsay_missing
  $1: apt-get install $2"
    hearsay_packages="$hearsay_packages $2"])
])

dnl HEARSAY_MISSING
dnl End here if anything that HEARSAY_LIB or HEARSAY_HEADER looked for is not there.
AC_DEFUN([HEARSAY_MISSING], [
AS_IF([test -n "$hearsay_missing"],
    [AC_MSG_ERROR([some libraries are missing or too old:$hearsay_missing

On Debian and its kin, all of them at once:

  apt-get install$hearsay_packages
])])
])

dnl HEARSAY_CFLAG(VARIABLE, FLAG)
dnl Add FLAG to VARIABLE if the compiler takes it and a program links with it.
dnl -Werror is for clang, which only warns of flags that it does not know.
AC_DEFUN([HEARSAY_CFLAG], [
AS_VAR_PUSHDEF([cache], [hearsay_cv_cflag_$2])
AC_CACHE_CHECK([whether $CC takes $2], [cache],
    [hearsay_saved_cflags=$CFLAGS
    CFLAGS="$CFLAGS -Werror $2"
    AC_LINK_IFELSE([AC_LANG_PROGRAM([], [])],
	[AS_VAR_SET([cache], [yes])], [AS_VAR_SET([cache], [no])])
    CFLAGS=$hearsay_saved_cflags])
AS_VAR_IF([cache], [yes], [AS_VAR_APPEND([$1], [" $2"])])
AS_VAR_POPDEF([cache])
])

dnl HEARSAY_LDFLAG(VARIABLE, FLAG)
AC_DEFUN([HEARSAY_LDFLAG], [
AS_VAR_PUSHDEF([cache], [hearsay_cv_ldflag_$2])
AC_CACHE_CHECK([whether $CC links with $2], [cache],
    [hearsay_saved_ldflags=$LDFLAGS
    LDFLAGS="$LDFLAGS $2"
    AC_LINK_IFELSE([AC_LANG_PROGRAM([], [])],
	[AS_VAR_SET([cache], [yes])], [AS_VAR_SET([cache], [no])])
    LDFLAGS=$hearsay_saved_ldflags])
AS_VAR_IF([cache], [yes], [AS_VAR_APPEND([$1], [" $2"])])
AS_VAR_POPDEF([cache])
])
