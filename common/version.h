/* The version all three programs tell. */
#ifndef ASSENT_COMMON_VERSION_H
#define ASSENT_COMMON_VERSION_H

#define ASSENT_VERSION "0.1.0"

#endif
