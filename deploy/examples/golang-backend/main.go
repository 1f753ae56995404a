// Command golang-backend shows the whole life of Kinora's tasks from the side of a Go backend, with the standard
// library alone: it submits one task to each service, receives the callbacks, verifies their signatures, and prints
// where the results lie.
//
//	go run . -dist /media/results -video /media/clip.mp4 -picture /media/portrait.jpg
package main

import (
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

type submission struct {
	service string
	path    string
	task    any
}

func main() {
	url := flag.String("ai", "http://localhost:5000", "where Kinora's router listens")
	listen := flag.String("listen", "127.0.0.1:8088", "where this backend receives /api/ai/notify")
	dist := flag.String("dist", "", "folder for the results, inside KINORA_MEDIA_ROOTS")
	video := flag.String("video", "", "a video with a face")
	picture := flag.String("picture", "", "a portrait of a person who consented")
	only := flag.String("only", "upscale,interpo,facefusion,creation", "the services to call")
	first := flag.Int64("first", time.Now().Unix(), "task_id of the first task")
	wait := flag.Duration("wait", 30*time.Minute, "how long to wait for all callbacks")
	flag.Parse()
	secret, token := os.Getenv("KINORA_WEBHOOK_SECRET"), os.Getenv("KINORA_TOKEN")

	var submissions []submission
	for _, entry := range all(*dist, *video, *picture, *first) {
		if strings.Contains(","+*only+",", ","+entry.service+",") {
			submissions = append(submissions, entry)
		}
	}

	// Listen first: a short task may end before the next one is posted.
	receiver := NewReceiver(secret, len(submissions))
	mux := http.NewServeMux()
	mux.Handle("/api/ai/notify", receiver)
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	go func() { log.Fatal(http.Serve(listener, mux)) }()

	kinora := NewKinora(*url, token)
	for _, entry := range submissions {
		if err := kinora.Submit(entry.path, entry.task); err != nil {
			log.Fatal(err)
		}
		fmt.Printf("accepted   %s\n", entry.service)
	}

	failed := false
	deadline := time.After(*wait)
	for range submissions {
		select {
		case notice := <-receiver.Notices:
			failed = show(notice, *dist) || failed
		case <-deadline:
			log.Fatal("not every callback came in time")
		}
	}
	if failed {
		os.Exit(1)
	}
}

// all returns one task of each service; each has a task_id of its own.
func all(dist, video, picture string, first int64) []submission {
	return []submission{
		{"upscale", "/api/ai/upscale", Upscale{TaskID: first, VideoURL: video, Ratio: 2, DistDir: dist}},
		{"interpo", "/api/ai/interpo", Interpo{TaskID: first + 1, VideoURL: video, Rate: 2, DistDir: dist}},
		{"facefusion", "/api/ai/facefusion", FaceFusion{
			TaskID: first + 2, SourceFile: picture, TargetFile: video, ReferenceFaceDistance: 0.5, DistDir: dist,
		}},
		{"creation", "/api/ai/creation", Creation{
			TaskID: first + 3, Category: 2, ImageURL: picture, FPS: 24, Movement: 1, Guidance: 12,
			Camera: "zoom in", DistDir: dist,
		}},
	}
}

// show prints one callback and tells whether it reports a failure or names a file that is not there.
func show(notice Notice, dist string) bool {
	if notice.ErrCode != 0 {
		fmt.Printf("failed     %d: %s\n", notice.TaskID, notice.ErrMsg)
		return true
	}
	names := append([]string{notice.VideoURL, notice.PreviewImage}, notice.ReferenceImages...)
	missing := false
	for _, name := range names {
		if name == "" {
			continue
		}
		path := filepath.Join(dist, name)
		if _, err := os.Stat(path); err != nil {
			fmt.Printf("missing    %d: %v\n", notice.TaskID, err)
			missing = true
			continue
		}
		fmt.Printf("delivered  %d: %s\n", notice.TaskID, path)
	}
	return missing
}
