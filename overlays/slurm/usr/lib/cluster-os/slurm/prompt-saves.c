/* SPDX-License-Identifier: Apache-2.0
 *
 * Loaded into slurmctld by LD_PRELOAD: it saves changes of its queue within a second, not within five, and says when
 * it begins to.
 *
 * The thread that saves ("sstate", slurmctldstate in src/slurmctld/state_save.c) waits until difftime(3) says that
 * SAVE_MAX_WAIT (5) seconds have passed since it saved last. SLURM 24.11 has that number as a constant of its build
 * only. For this thread, one second is as good as five here; a test in vm-tests/ holds SLURM to it. Before each save it
 * touches SAVING, by which clusteros-copies tells that a save began later than something else (await-saved).
 *
 * After a save that took longer than a second it asks once more, and may find nothing to save. So SAVING tells of two
 * times: its modification when it asked last, its access when it did before; one of these began the last save.
 */

int prctl(int option, ...);
int open(const char *path, int flags, ...);
int close(int fd);
int utimensat(int folder, const char *path, const void *times, int flags);
int clock_gettime(int clock, void *time);

#define PR_GET_NAME 16
#define AT_FDCWD (-100)
#define O_WRONLY 01
#define O_CREAT 0100
#define O_CLOEXEC 02000000
#define SAVE_MAX_WAIT 5
#define CLOCK_REALTIME_COARSE 5 /* what the kernel gives files */
#ifndef SAVING
#define SAVING "/run/slurmctld/saving"
#endif

static int is_saver(void)
{
        static const char saver[] = "sstate";
        char name[16] = "";
        unsigned i;

        prctl(PR_GET_NAME, name, 0, 0, 0);
        for (i = 0; i < sizeof(saver); i++)
                if (name[i] != saver[i])
                        return 0;
        return 1;
}

static void tell(void)
{
        /* Access and modification, as utimensat(2) takes them. Only one thread comes here. */
        static struct {
                long seconds, nanoseconds;
        } times[2];

        times[0] = times[1];
        clock_gettime(CLOCK_REALTIME_COARSE, &times[1]);
        if (utimensat(AT_FDCWD, SAVING, times, 0) == 0)
                return;
        close(open(SAVING, O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
        utimensat(AT_FDCWD, SAVING, times, 0);
}

double difftime(long later, long earlier)
{
        double difference = (double)(later - earlier);

        if (difference < 1 || !is_saver())
                return difference;
        tell();
        return difference < SAVE_MAX_WAIT ? SAVE_MAX_WAIT : difference;
}
