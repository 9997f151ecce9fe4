/* A program that knows nothing of procession and loads a shared object that does. */
#include <dlfcn.h>
#include <stdio.h>

int main(int argc, char **argv) {
    if (argc < 2) {
        /* A child that re-executed this program would get here. */
        puts("main of a foreign host ran again");
        return 2;
    }
    void *plugin = dlopen(argv[1], RTLD_NOW);
    if (!plugin) {
        puts(dlerror());
        return 3;
    }
    int (*start)(void) = (int (*)(void))dlsym(plugin, "start_in_foreign_host");
    return start ? start() : 4;
}
