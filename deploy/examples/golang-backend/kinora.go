package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Answer is what every endpoint of Kinora says at once; ErrCode 0 means durably accepted.
type Answer struct {
	ErrCode int    `json:"err_code"`
	ErrMsg  string `json:"err_msg"`
}

// Notice is the callback of one task: bare file names inside the task's dist_dir.
type Notice struct {
	TaskID          int64    `json:"task_id"`
	PreviewImage    string   `json:"preview_image"`
	ReferenceImages []string `json:"reference_images"`
	VideoURL        string   `json:"video_url"`
	ErrCode         int      `json:"err_code"`
	ErrMsg          string   `json:"err_msg"`
}

// Creation asks for a video from text (Category 1), from an image (2) or from a video (3).
type Creation struct {
	TaskID      int64  `json:"task_id"`
	Category    int    `json:"category"`
	ImageURL    string `json:"image_url"`
	PromptCN    string `json:"prompt_cn"`
	NgPromptCN  string `json:"ng_prompt_cn"`
	FPS         int    `json:"fps"`
	Movement    int    `json:"movement"`
	Guidance    int    `json:"guidance"`
	Camera      string `json:"camera"`
	VideoURL    string `json:"video_url"`
	AspectRatio string `json:"aspect_ratio"`
	Seed        int64  `json:"seed"`
	VideoStyle  int    `json:"video_style"`
	DistDir     string `json:"dist_dir"`
}

// FaceFusion previews one frame (Programe 0) or generates the whole video (1). The source face must be that of a
// person who consented.
type FaceFusion struct {
	TaskID                int64   `json:"task_id"`
	Programe              int     `json:"programe"`
	SourceFile            string  `json:"source_file"`
	TargetFile            string  `json:"target_file"`
	FrameNumber           int     `json:"frame_number"`
	ReferenceFacePosition int     `json:"reference_face_position"`
	ReferenceFaceDistance float64 `json:"reference_face_distance"`
	FaceSelectorMode      string  `json:"face_selector_mode"`
	FaceAnalyseOrder      string  `json:"face_analyse_order"`
	FaceAnalyseAge        string  `json:"face_analyse_age"`
	FaceAnalyseGender     string  `json:"face_analyse_gender"`
	DistDir               string  `json:"dist_dir"`
}

// Interpo multiplies the frame rate by Rate: 2, 4, 6 or 8.
type Interpo struct {
	TaskID   int64  `json:"task_id"`
	VideoURL string `json:"video_url"`
	Rate     int    `json:"rate"`
	DistDir  string `json:"dist_dir"`
}

// Upscale multiplies width and height by Ratio: 1 (restore only), 2, 3 or 4.
type Upscale struct {
	TaskID   int64  `json:"task_id"`
	VideoURL string `json:"video_url"`
	Ratio    int    `json:"ratio"`
	DistDir  string `json:"dist_dir"`
}

// Kinora is the client of the four services behind their router.
type Kinora struct {
	URL   string // such as http://localhost:5000
	Token string // empty: none asked for
	HTTP  http.Client
}

// NewKinora returns a client with a deadline: an answer takes milliseconds, a minute means trouble.
func NewKinora(url, token string) *Kinora {
	return &Kinora{URL: url, Token: token, HTTP: http.Client{Timeout: time.Minute}}
}

// Submit posts a task. A nil error means that it was accepted and that a callback will come. Posting the same task
// again is safe: it still runs once.
func (k *Kinora) Submit(path string, task any) error {
	body, err := json.Marshal(task)
	if err != nil {
		return err
	}
	request, err := http.NewRequest(http.MethodPost, k.URL+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	if k.Token != "" {
		request.Header.Set("Authorization", "Bearer "+k.Token)
	}
	response, err := k.HTTP.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 64<<10))
	if err != nil {
		return err
	}
	var answer Answer
	if err := json.Unmarshal(text, &answer); err != nil {
		return fmt.Errorf("%s: HTTP %d, not an answer: %w", path, response.StatusCode, err)
	}
	if answer.ErrCode != 0 {
		return fmt.Errorf("%s: %s", path, answer.ErrMsg)
	}
	return nil
}
