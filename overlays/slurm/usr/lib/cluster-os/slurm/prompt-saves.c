/* SPDX-License-Identifier: Apache-2.0
 *
 * Loaded into slurmctld by LD_PRELOAD: it saves changes of its queue within a second, not within five.
 *
 * The thread that saves ("sstate", slurmctldstate in src/slurmctld/state_save.c) waits until difftime(3) says that
 * SAVE_MAX_WAIT (5) seconds have passed since it saved last. SLURM 24.11 has that number as a constant of its build
 * only. For this thread, one second is as good as five here; a test in vm-tests/ holds SLURM to it.
 */

int prctl(int option, ...);

#define PR_GET_NAME 16
#define SAVE_MAX_WAIT 5

double difftime(long later, long earlier)
{
        static const char saver[] = "sstate";
        char name[16] = "";
        double difference = (double)(later - earlier);
        unsigned i;

        if (difference < 1 || difference >= SAVE_MAX_WAIT)
                return difference;
        prctl(PR_GET_NAME, name, 0, 0, 0);
        for (i = 0; i < sizeof(saver); i++)
                if (name[i] != saver[i])
                        return difference;
        return SAVE_MAX_WAIT;
}
